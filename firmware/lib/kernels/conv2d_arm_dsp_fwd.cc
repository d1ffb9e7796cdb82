// Forward pass with the Cortex-M DSP extension. Input rows become int16 without their zero point,
// padded; a kernel row is then one contiguous run and needs no columns. Two output
// channels by two pixels at a time.
#include "kernels/dispatch.h"

#if TBFT_KERNELS_ARM_DSP

#include "kernels/arm_dsp.h"
#include "kernels/arm_dsp_dot.h"
#include "kernels/arm_dsp_winograd.h"
#include "kernels/conv2d_scratch.h"

namespace tbft {
namespace {

constexpr int64_t kLargestProduct = 128 * 255;

// Writes two channels' sums, bias included, for two pixels.
struct ActivationSink {
  const arm::OutputScale& a;
  const arm::OutputScale& b;
  bool two_channels;
  int32_t channels;
  int8_t* y;  // first channel of pixel 0

  template <bool kFast>
  static int8_t activation(const arm::OutputScale& scale, int32_t acc) {
    return static_cast<int8_t>(kFast ? scale.from_twice(2 * acc) : scale.exact(acc));
  }

  template <bool kFast>
  void store(int32_t at, const arm::FourSums& s, bool both) const {
    int8_t* const to = y + at * channels;
    to[0] = activation<kFast>(a, s.a0);
    if (two_channels) to[1] = activation<kFast>(b, s.b0);
    if (!both) return;
    to[channels] = activation<kFast>(a, s.a1);
    if (two_channels) to[channels + 1] = activation<kFast>(b, s.b1);
  }
};

// One row of the padded input, zero point taken off.
template <bool kQuads>
void fill_input_row(const Conv2dShape& s, const int8_t* x, int32_t zero_point, int32_t iy,
                    int32_t pitch, int16_t* to) {
  if (iy < 0 || iy >= s.in_h) {
    arm::fill_zero(pitch, to);
    return;
  }
  const int32_t width = static_cast<int32_t>(padded_width(s));
  const int32_t left = s.pad_left < width ? s.pad_left : width;
  const int32_t before = left * s.in_c;
  const int32_t n = clamp(width - left, 0, s.in_w) * s.in_c;
  const int8_t* const from = x + iy * s.in_w * s.in_c;
  arm::fill_zero(before, to);
  if (kQuads) {
    arm::widen_quads(from, n, arm::both_halves(-zero_point), to + before);
  } else {
    for (int32_t i = 0; i < n; ++i) to[before + i] = static_cast<int16_t>(from[i] - zero_point);
  }
  arm::fill_zero(pitch - before - n, to + before + n);
}

// Two rows of weights of odd channel counts, in turn pair by pair; each kernel row padded to even.
void pack_weights(const Conv2dShape& s, const int8_t* a, const int8_t* b, int16_t* to) {
  const int32_t run = s.kernel_w * s.in_c;
  for (int32_t ky = 0; ky < s.kernel_h; ++ky, a += run, b += run) {
    for (int32_t k = 0; k < run; k += 2, to += 4) {
      const bool two = k + 1 < run;
      to[0] = a[k];
      to[1] = two ? a[k + 1] : int8_t{0};
      to[2] = b[k];
      to[3] = two ? b[k + 1] : int8_t{0};
    }
  }
}

template <bool kQuads>
void forward(const Conv2dShape& s, const int8_t* x, const int8_t* w, const int32_t* bias,
             const Requantization& rq, void* scratch, int8_t* y) {
  const int32_t pitch =
      static_cast<int32_t>(round_up_16(2 * padded_width(s) * static_cast<uint64_t>(s.in_c)) / 2);
  const int32_t capacity = s.kernel_h + s.stride_h;
  arm::SlidingRows rows(static_cast<int16_t*>(scratch), pitch, capacity);
  int16_t* const weights = static_cast<int16_t*>(scratch) + capacity * pitch;
  const uint32_t* const packed = reinterpret_cast<const uint32_t*>(weights);
  const int32_t run = s.kernel_w * s.in_c;
  const int32_t length = s.kernel_h * run;
  const auto fill = [&](int32_t row, int16_t* to) {
    fill_input_row<kQuads>(s, x, rq.in_zero_point, row - s.pad_top, pitch, to);
  };
  for (int32_t oy = 0; oy < s.out_h; oy += 2) {
    const int32_t out_rows = oy + 1 < s.out_h ? 2 : 1;
    const int16_t* const input =
        rows.get(oy * s.stride_h, (out_rows - 1) * s.stride_h + s.kernel_h, fill);
    for (int32_t o = 0; o < s.out_c; o += 2) {
      const int32_t other = o + 1 < s.out_c ? o + 1 : o;
      if (kQuads) {
        arm::widen_two_rows(w + o * length, w + other * length, length, weights);
      } else {
        pack_weights(s, w + o * length, w + other * length, weights);
      }
      const int64_t limit = length * kLargestProduct;
      const arm::OutputScale a(rq, o, limit, bias == nullptr ? 0 : bias[o]);
      const arm::OutputScale b(rq, other, limit, bias == nullptr ? 0 : bias[other]);
      for (int32_t r = 0; r < out_rows; ++r) {
        const ActivationSink sink = {a, b, other != o, s.out_c,
                                     y + (oy + r) * s.out_w * s.out_c + o};
        const auto dot = [&](auto&& store) {
          arm::dot_rows(input + r * s.stride_h * pitch, pitch, s.kernel_h, run, s.stride_w * s.in_c,
                        s.out_w, kQuads, packed, a.bias(), b.bias(), store);
        };
        if (a.fast() && b.fast()) {
          dot([&](int32_t at, const arm::FourSums& sums, bool both) {
            sink.store<true>(at, sums, both);
          });
        } else {
          dot([&](int32_t at, const arm::FourSums& sums, bool both) {
            sink.store<false>(at, sums, both);
          });
        }
      }
    }
  }
}

// The window is the whole input: a fully connected layer. Weights are used once, so they are
// widened in registers.
void forward_one_pixel(const Conv2dShape& s, const int8_t* x, const int8_t* w, const int32_t* bias,
                       const Requantization& rq, int16_t* input, int8_t* y) {
  const int32_t length = s.kernel_h * s.kernel_w * s.in_c;
  arm::widen_quads(x, length, arm::both_halves(-rq.in_zero_point), input);
  const uint32_t* const values = reinterpret_cast<const uint32_t*>(input);
  for (int32_t o = 0; o < s.out_c; o += 2) {
    const int32_t other = o + 1 < s.out_c ? o + 1 : o;
    const int8_t* a = w + o * length;
    const int8_t* b = w + other * length;
    int32_t sum_a = bias == nullptr ? 0 : bias[o];
    int32_t sum_b = bias == nullptr ? 0 : bias[other];
    for (int32_t k = 0; k < length; k += 4) {
      const uint32_t even = values[k / 2];
      const uint32_t odd = values[k / 2 + 1];
      const uint32_t wa = arm::load_word(a + k);
      const uint32_t wb = arm::load_word(b + k);
      sum_a = arm::dot_pair(arm::widen_even(0, wa), even, sum_a);
      sum_b = arm::dot_pair(arm::widen_even(0, wb), even, sum_b);
      sum_a = arm::dot_pair(arm::widen_odd(0, wa), odd, sum_a);
      sum_b = arm::dot_pair(arm::widen_odd(0, wb), odd, sum_b);
    }
    y[o] = requantize(sum_a, rq, o);
    if (other != o) y[other] = requantize(sum_b, rq, other);
  }
}

}  // namespace

bool conv2d_s8_fwd_arm_dsp(const Conv2dShape& s, const int8_t* x, const int8_t* w,
                           const int32_t* bias, const Requantization& rq, void* scratch,
                           int8_t* y) {
  const bool quads = s.in_c % 4 == 0;
  if (arm::window_is_input(s) && (s.kernel_h * s.kernel_w * s.in_c) % 4 == 0) {
    forward_one_pixel(s, x, w, bias, rq, static_cast<int16_t*>(scratch), y);
    return true;
  }
  if (arm::winograd_fwd(s, x, w, bias, rq, scratch, y)) return true;
  if (quads) {
    forward<true>(s, x, w, bias, rq, scratch, y);
  } else {
    forward<false>(s, x, w, bias, rq, scratch, y);
  }
  return true;
}

}  // namespace tbft

#endif  // TBFT_KERNELS_ARM_DSP
