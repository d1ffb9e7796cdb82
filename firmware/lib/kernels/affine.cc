// Input gradient of the affine (1x1 depthwise convolution, stride 1), with the addition that
// usually follows it.
#include "kernels/depthwise.h"
#include "kernels/dispatch.h"
#include "kernels/error_read.h"
#include "kernels/error_sum.h"
#include "kernels/fixed_point.h"
#include "kernels/scaled_weight.h"

namespace tbft {
namespace {

int32_t raw_error(const ErrorView& e, int32_t i) { return e.s8 != nullptr ? e.s8[i] : e.s16[i]; }

// Calls visit(i, acc) for every element; acc is the exact input gradient, at most 127 * 2032.
template <typename Visit>
void for_each_gradient(int32_t pixels, int32_t channels, const ErrorView& e_y, const int8_t* w,
                       const int16_t* q, Visit visit) {
  for (int32_t p = 0; p < pixels; ++p) {
    for (int32_t c = 0; c < channels; ++c) {
      const int32_t i = p * channels + c;
      visit(i, error_value(e_y, i) * scaled_weight(w[c], q[c]));
    }
  }
}

struct Range {
  int32_t lowest = 0;
  int32_t highest = 0;

  void watch(int32_t value) {
    lowest = value < lowest ? value : lowest;
    highest = value > highest ? value : highest;
  }
  uint32_t largest() const {
    const uint32_t down = magnitude(lowest);
    const uint32_t up = magnitude(highest);
    return down > up ? down : up;
  }
};

// Divides by 2^shift with rounding, within a wide error; the sum with half must not overflow.
struct ToWide {
  explicit ToWide(int32_t n) : shift(n), half(n > 0 ? 1 << (n - 1) : 0) {}
  int32_t operator()(int32_t acc) const { return clamp((acc + half) >> shift, -32767, 32767); }
  int32_t shift;
  int32_t half;
};

struct AffineShape {
  int32_t pixels, channels;
};

// Without an addition: the largest error of a channel gives its largest gradient.
template <typename Errors>
uint32_t largest_gradient(const AffineShape& s, const Errors& errors,
                          const typename Errors::Element* e, const int8_t* w, const int16_t* q) {
  uint32_t largest = 0;
  for (int32_t c = 0; c < s.channels; ++c) {
    Range range;
    const typename Errors::Element* from = e + c;
    for (int32_t p = 0; p < s.pixels; ++p, from += s.channels) range.watch(errors(*from));
    const uint32_t size = range.largest() * magnitude(scaled_weight(w[c], q[c]));
    largest = size > largest ? size : largest;
  }
  return largest;
}

template <typename Errors>
void write_gradient(const AffineShape& s, const Errors& errors, const typename Errors::Element* e,
                    const int8_t* w, const int16_t* q, int32_t shift, int16_t* e_x) {
  const ToWide to_wide(shift);
  for (int32_t c = 0; c < s.channels; ++c) {
    const int32_t factor = scaled_weight(w[c], q[c]);
    const typename Errors::Element* from = e + c;
    int16_t* to = e_x + c;
    for (int32_t p = 0; p < s.pixels; ++p, from += s.channels, to += s.channels) {
      *to = static_cast<int16_t>(to_wide(errors(*from) * factor));
    }
  }
}

// With one: calls visit(i, sum) for every element, channel after channel.
template <typename Errors, typename Add, typename Visit>
void for_each_sum(const AffineShape& s, const Errors& errors, const typename Errors::Element* e,
                  const int8_t* w, const int16_t* q, int32_t shift, const ErrorSum& sum,
                  const Add* add, Visit visit) {
  const ToWide to_wide(shift);
  for (int32_t c = 0; c < s.channels; ++c) {
    const int32_t factor = scaled_weight(w[c], q[c]);
    int32_t i = c;
    for (int32_t p = 0; p < s.pixels; ++p, i += s.channels) {
      visit(i, to_wide(errors(e[i]) * factor) * sum.factor_a + add[i] * sum.factor_b);
    }
  }
}

// Returns the exponent of e_x.
template <typename Errors, typename Add>
int32_t add_gradient(const AffineShape& s, const Errors& errors, const typename Errors::Element* e,
                     const int8_t* w, const int16_t* q, int32_t shift, const ErrorSum& sum,
                     const Add* add, int16_t* e_x) {
  Range range;
  for_each_sum(s, errors, e, w, q, shift, sum, add,
               [&](int32_t, int32_t acc) { range.watch(acc); });
  const ToWide to_wide(needed_shift(range.largest(), 15));
  for_each_sum(s, errors, e, w, q, shift, sum, add,
               [&](int32_t i, int32_t acc) { e_x[i] = static_cast<int16_t>(to_wide(acc)); });
  return sum.exponent + to_wide.shift;
}

template <typename Errors>
int32_t affine_any(const AffineShape& s, const Errors& errors, const typename Errors::Element* e,
                   int32_t exponent, const int8_t* w, const int16_t* q, const ErrorView& add,
                   int32_t add_exponent, int16_t* e_x) {
  const int32_t shift = needed_shift(largest_gradient(s, errors, e, w, q), 15);
  const int32_t own_exponent = exponent + shift;
  if (add.s8 == nullptr && add.s16 == nullptr) {
    write_gradient(s, errors, e, w, q, shift, e_x);
    return own_exponent;
  }
  const ErrorSum sum = error_sum(own_exponent, add_exponent);
  return add.s8 != nullptr ? add_gradient(s, errors, e, w, q, shift, sum, add.s8, e_x)
                           : add_gradient(s, errors, e, w, q, shift, sum, add.s16, e_x);
}

}  // namespace

int32_t affine_bwd_ref(int32_t pixels, int32_t channels, const ErrorView& e_y, int32_t exponent,
                       const int8_t* w, const int16_t* q, int32_t t, const ErrorView& add,
                       int32_t add_exponent, int16_t* e_x) {
  uint32_t largest = 0;
  for_each_gradient(pixels, channels, e_y, w, q, [&](int32_t, int32_t acc) {
    if (magnitude(acc) > largest) largest = magnitude(acc);
  });
  const int32_t shift = needed_shift(largest, 15);
  const int32_t own_exponent = exponent + t + shift;
  if (add.s8 == nullptr && add.s16 == nullptr) {
    for_each_gradient(pixels, channels, e_y, w, q,
                      [&](int32_t i, int32_t acc) { e_x[i] = to_wide_error(acc, shift); });
    return own_exponent;
  }
  // The same two roundings as affine_bwd without an addition and error_add after it.
  const ErrorSum sum = error_sum(own_exponent, add_exponent);
  const auto added = [&](int32_t i, int32_t acc) {
    return to_wide_error(acc, shift) * sum.factor_a + raw_error(add, i) * sum.factor_b;
  };
  uint32_t largest_sum = 0;
  for_each_gradient(pixels, channels, e_y, w, q, [&](int32_t i, int32_t acc) {
    if (magnitude(added(i, acc)) > largest_sum) largest_sum = magnitude(added(i, acc));
  });
  const int32_t sum_shift = needed_shift(largest_sum, 15);
  for_each_gradient(pixels, channels, e_y, w, q, [&](int32_t i, int32_t acc) {
    e_x[i] = to_wide_error(added(i, acc), sum_shift);
  });
  return sum.exponent + sum_shift;
}

int32_t affine_bwd(int32_t pixels, int32_t channels, const ErrorView& e_y, int32_t exponent,
                   const int8_t* w, const int16_t* q, int32_t t, const ErrorView& add,
                   int32_t add_exponent, int16_t* e_x) {
#if TBFT_KERNELS_X86
  int32_t result = 0;
  if (affine_bwd_x86(pixels, channels, e_y, exponent, w, q, t, add, add_exponent, e_x, &result)) {
    return result;
  }
#endif
  const AffineShape s = {pixels, channels};
  if (e_y.s8 != nullptr) {
    return affine_any(s, NarrowErrors{}, e_y.s8, exponent + t, w, q, add, add_exponent, e_x);
  }
  return affine_any(s, WideErrors(e_y), e_y.s16, exponent + t, w, q, add, add_exponent, e_x);
}

}  // namespace tbft
