// int32 accumulator to int8 activation.
#pragma once

#include "kernels/conv_shape.h"
#include "kernels/fixed_point.h"

namespace tbft {

inline int8_t requantize(int32_t acc, const Requantization& rq, int32_t channel) {
  const int32_t scaled =
      multiply_by_quantized_multiplier(acc, rq.multiplier[channel], rq.shift[channel]);
  return static_cast<int8_t>(
      clamp(wrapping_add(scaled, rq.out_zero_point), rq.act_min, rq.act_max));
}

// MBQM(x, m, -n) + offset in few instructions, from 4 x, |4 x| <= 2^30, for 0 <= n <= 20.
//
// The high half of 4 x * m is x * m / 2^30 rounded down: SRDHM(x, m), with one bit more. Adding 1
// and clearing the lowest bit makes it twice SRDHM, and RDBPOT(a, n) is then (2 a - (a < 0) + 2^n)
// / 2^(n+1) rounded down, n = 0 included. The offset goes in front of that.
struct FastScale {
  static constexpr int32_t kLargestInput = 1 << 30;  // of 4 x
  static constexpr int32_t kLargestShift = 20;
  static constexpr int32_t kLargestOffset = 128;

  // For a shift within the range and |offset| <= kLargestOffset.
  FastScale(int32_t m, int32_t shift, int32_t offset)
      : multiplier(m), right(1 - shift), half((1 << -shift) + offset * (1 << (1 - shift))) {}
  FastScale() : multiplier(0), right(1), half(1) {}

  static bool takes(int32_t shift) { return shift <= 0 && shift >= -kLargestShift; }

  int32_t operator()(int32_t four_x) const {
    const int32_t high = multiply_high(four_x, multiplier) + 1;
    return ((high & -2) + (high >> 31) + half) >> right;
  }

  int32_t multiplier;
  int32_t right;  // n + 1
  int32_t half;
};

}  // namespace tbft
