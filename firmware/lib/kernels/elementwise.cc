#include "kernels/elementwise.h"

#include "kernels/dispatch.h"
#include "kernels/error_sum.h"
#include "kernels/fixed_point.h"
#include "kernels/loop_hints.h"
#include "kernels/requantize.h"

namespace tbft {
namespace {

template <typename Error>
void mask_any(const Error* e, const uint8_t* mask, uint32_t n, Error* out) {
  const uint32_t whole = n & ~7U;
  for (uint32_t i = 0; i < whole; i += 8) {
    const int32_t bits = mask[i >> 3];
    TBFT_INDEPENDENT_LOOP
    for (uint32_t j = 0; j < 8; ++j) {
      out[i + j] = static_cast<Error>(e[i + j] & -((bits >> j) & 1));
    }
  }
  for (uint32_t i = whole; i < n; ++i) {
    out[i] = ((mask[i >> 3] >> (i & 7)) & 1) != 0 ? e[i] : Error{0};
  }
}

template <typename Error>
void relu_any(const Error* e, const int8_t* y, uint32_t n, int32_t act_min, int32_t act_max,
              bool relu6, Error* out) {
  // Bounds in int8 keep the comparison in bytes: y passes when low < y <= high.
  const int8_t low = static_cast<int8_t>(act_min);
  const int8_t high = static_cast<int8_t>(relu6 && act_max > -128 ? act_max - 1 : 127);
  const bool none = relu6 && act_max <= -128;
  const int8_t all = none ? int8_t{0} : int8_t{1};
  TBFT_INDEPENDENT_LOOP
  for (uint32_t i = 0; i < n; ++i) {
    const int8_t pass =
        static_cast<int8_t>(-static_cast<int8_t>((y[i] > low) & (y[i] <= high) & all));
    out[i] = static_cast<Error>(e[i] & pass);
  }
}

// Two passes, so that no sums need storing. Returns the exponent.
template <typename A, typename B>
int32_t add_any(const ErrorSum& sum, const A* a, const B* b, uint32_t n, int16_t* out) {
  int32_t largest = 0;
  for (uint32_t i = 0; i < n; ++i) {
    const int32_t acc = a[i] * sum.factor_a + b[i] * sum.factor_b;
    const int32_t size = acc < 0 ? -acc : acc;
    largest = size > largest ? size : largest;
  }
  const int32_t shift = needed_shift(static_cast<uint32_t>(largest), 15);
  const int32_t half = shift > 0 ? 1 << (shift - 1) : 0;  // acc + half: see ErrorSum
  TBFT_INDEPENDENT_LOOP
  for (uint32_t i = 0; i < n; ++i) {
    const int32_t acc = a[i] * sum.factor_a + b[i] * sum.factor_b;
    out[i] = static_cast<int16_t>(clamp((acc + half) >> shift, -32767, 32767));
  }
  return sum.exponent + shift;
}

#if !TBFT_KERNELS_X86
// Whether both scaled operands and their sum, at most 255 * 2^20 times the sum of the two factors,
// are within what FastScale takes.
bool add_is_fast(const AddParams& p) {
  if (!FastScale::takes(p.a_shift) || !FastScale::takes(p.b_shift) ||
      !FastScale::takes(p.out_shift)) {
    return false;
  }
  const uint32_t factors = (static_cast<uint32_t>(p.a_multiplier) >> -p.a_shift) +
                           (static_cast<uint32_t>(p.b_multiplier) >> -p.b_shift);
  return factors <= uint32_t{1} << 31;
}

void add_fast(const AddParams& p, const int8_t* a, const int8_t* b, uint32_t n, int8_t* y) {
  constexpr int32_t kFour = 1 << 22;  // 4 * 2^20
  const FastScale scale_a(p.a_multiplier, p.a_shift, 0);
  const FastScale scale_b(p.b_multiplier, p.b_shift, 0);
  const FastScale scale_out(p.out_multiplier, p.out_shift, p.out_zero_point);
  const int32_t start_a = p.a_zero_point * -kFour;
  const int32_t start_b = p.b_zero_point * -kFour;
  const int32_t low = p.act_min;
  const int32_t high = p.act_max;
  for (uint32_t i = 0; i < n; ++i) {
    const int32_t sum = scale_a(a[i] * kFour + start_a) + scale_b(b[i] * kFour + start_b);
    y[i] = static_cast<int8_t>(clamp(scale_out(4 * sum), low, high));
  }
}
#endif

template <typename Error>
void slice_any(const Error* e_y, int32_t pixels, int32_t channels_in, int32_t before,
               int32_t channels_out, Error* e_x) {
  for (int32_t p = 0; p < pixels; ++p) {
    for (int32_t c = 0; c < channels_in; ++c) e_x[c] = e_y[before + c];
    e_x += channels_in;
    e_y += channels_out;
  }
}

}  // namespace

void add_s8_fwd(const AddParams& p, const int8_t* a, const int8_t* b, uint32_t n, int8_t* y) {
#if TBFT_KERNELS_LX7
  if (add_s8_fwd_lx7(p, a, b, n, y)) return;
#endif
#if !TBFT_KERNELS_X86  // whose vectors do better with the plain form
  if (add_is_fast(p)) return add_fast(p, a, b, n, y);
#endif
  add_s8_fwd_ref(p, a, b, n, y);
}

void add_s8_fwd_ref(const AddParams& p, const int8_t* a, const int8_t* b, uint32_t n, int8_t* y) {
  TBFT_INDEPENDENT_LOOP
  for (uint32_t i = 0; i < n; ++i) {
    const int32_t scaled_a = multiply_by_quantized_multiplier((a[i] - p.a_zero_point) * (1 << 20),
                                                              p.a_multiplier, p.a_shift);
    const int32_t scaled_b = multiply_by_quantized_multiplier((b[i] - p.b_zero_point) * (1 << 20),
                                                              p.b_multiplier, p.b_shift);
    const int32_t sum = multiply_by_quantized_multiplier(wrapping_add(scaled_a, scaled_b),
                                                         p.out_multiplier, p.out_shift);
    y[i] = static_cast<int8_t>(clamp(wrapping_add(sum, p.out_zero_point), p.act_min, p.act_max));
  }
}

void mask_pack(const int8_t* y, uint32_t n, int32_t act_min, int32_t act_max, bool relu6,
               uint8_t* mask) {
  const int32_t high = relu6 ? act_max : 128;  // beyond every int8: passes all
  for (uint32_t i = 0; i < n; i += 8) {
    const uint32_t count = n - i < 8 ? n - i : 8;
    uint32_t bits = 0;
    for (uint32_t j = 0; j < count; ++j) {
      bits |= static_cast<uint32_t>(y[i + j] > act_min && y[i + j] < high) << j;
    }
    mask[i >> 3] = static_cast<uint8_t>(bits);
  }
}

void mask_bwd(const int8_t* e, const uint8_t* mask, uint32_t n, int8_t* out) {
  mask_any(e, mask, n, out);
}

void mask_bwd(const int16_t* e, const uint8_t* mask, uint32_t n, int16_t* out) {
  mask_any(e, mask, n, out);
}

void relu_bwd(const int8_t* e, const int8_t* y, uint32_t n, int32_t act_min, int32_t act_max,
              bool relu6, int8_t* out) {
#if TBFT_KERNELS_ARM_DSP
  return relu_bwd_arm_dsp(e, y, n, act_min, act_max, relu6, out);
#endif
  relu_any(e, y, n, act_min, act_max, relu6, out);
}

void relu_bwd(const int16_t* e, const int8_t* y, uint32_t n, int32_t act_min, int32_t act_max,
              bool relu6, int16_t* out) {
#if TBFT_KERNELS_ARM_DSP
  return relu_bwd_arm_dsp(e, y, n, act_min, act_max, relu6, out);
#endif
  relu_any(e, y, n, act_min, act_max, relu6, out);
}

int32_t error_add(const ErrorView& a, int32_t a_exponent, const ErrorView& b, int32_t b_exponent,
                  uint32_t n, int16_t* out) {
  const ErrorSum sum = error_sum(a_exponent, b_exponent);
  if (a.s8 != nullptr) {
    return b.s8 != nullptr ? add_any(sum, a.s8, b.s8, n, out) : add_any(sum, a.s8, b.s16, n, out);
  }
  return b.s8 != nullptr ? add_any(sum, a.s16, b.s8, n, out) : add_any(sum, a.s16, b.s16, n, out);
}

namespace {

// Lowest and highest are followed apart: two instructions an element where there are MIN and MAX.
template <typename E>
uint32_t largest_magnitude(const E* e, uint32_t n) {
  int32_t lowest = 0;
  int32_t highest = 0;
  for (uint32_t i = 0; i < n; ++i) {
    const int32_t value = e[i];
    lowest = value < lowest ? value : lowest;
    highest = value > highest ? value : highest;
  }
  return static_cast<uint32_t>(-lowest > highest ? -lowest : highest);
}

}  // namespace

uint32_t error_magnitude(const int16_t* e, uint32_t n) {
#if TBFT_KERNELS_ARM_DSP
  return error_magnitude_arm_dsp(e, n);
#else
  return largest_magnitude(e, n);
#endif
}

uint32_t error_magnitude(const int8_t* e, uint32_t n) {
#if TBFT_KERNELS_ARM_DSP
  return error_magnitude_arm_dsp(e, n);
#else
  return largest_magnitude(e, n);
#endif
}

void channel_pad_fwd(const int8_t* x, int32_t pixels, int32_t channels_in, int32_t before,
                     int32_t channels_out, int32_t zero_point, int8_t* y) {
  const int8_t fill = static_cast<int8_t>(zero_point);
  for (int32_t p = 0; p < pixels; ++p) {
    for (int32_t c = 0; c < before; ++c) y[c] = fill;
    for (int32_t c = 0; c < channels_in; ++c) y[before + c] = x[c];
    for (int32_t c = before + channels_in; c < channels_out; ++c) y[c] = fill;
    x += channels_in;
    y += channels_out;
  }
}

void channel_pad_bwd(const int8_t* e_y, int32_t pixels, int32_t channels_in, int32_t before,
                     int32_t channels_out, int8_t* e_x) {
  slice_any(e_y, pixels, channels_in, before, channels_out, e_x);
}

void channel_pad_bwd(const int16_t* e_y, int32_t pixels, int32_t channels_in, int32_t before,
                     int32_t channels_out, int16_t* e_x) {
  slice_any(e_y, pixels, channels_in, before, channels_out, e_x);
}

}  // namespace tbft
