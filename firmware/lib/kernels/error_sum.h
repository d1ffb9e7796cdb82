// The fan-out rule of docs/numerics.md: how two errors of different exponents are added exactly.
#pragma once

#include "kernels/error_view.h"
#include "kernels/fixed_point.h"

namespace tbft {

// acc = a * factor_a + b * factor_b has this exponent. A factor is 2^0..2^15, or 0 for an operand
// too small to matter; at least one is 1, so |acc| <= 32767 * (2^15 + 1) < 2^31 - 2^16.
struct ErrorSum {
  int32_t exponent;
  int32_t factor_a;
  int32_t factor_b;
};

inline ErrorSum error_sum(int32_t a_exponent, int32_t b_exponent) {
  constexpr int32_t kFarthest = 15;
  if (a_exponent - b_exponent > kFarthest) return {a_exponent, 1, 0};
  if (b_exponent - a_exponent > kFarthest) return {b_exponent, 0, 1};
  const int32_t lowest = a_exponent < b_exponent ? a_exponent : b_exponent;
  return {lowest, 1 << (a_exponent - lowest), 1 << (b_exponent - lowest)};
}

}  // namespace tbft
