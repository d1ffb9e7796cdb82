// One element's integer SGD step (docs/numerics.md, 5), shared by the forms of the update.
#pragma once

#include "kernels/fixed_point.h"
#include "kernels/update.h"

namespace tbft {

constexpr int32_t kStepFractionBits = 16;
constexpr int64_t kWeightStepLimit = int64_t{1} << 24;
constexpr int64_t kBiasStepLimit = int64_t{1} << 46;
constexpr int64_t kBiasLimit = int64_t{1} << 30;

// The step of acc is acc * value * 2^-shift, with kStepFractionBits fraction bits.
struct StepFactor {
  int64_t value;  // 0 or in [2^29, 2^31)
  int32_t shift;
};

inline StepFactor step_factor(const NormalizedPair& lr, const NormalizedPair& rho,
                              int32_t exponent) {
  const uint64_t product = static_cast<uint64_t>(static_cast<uint32_t>(lr.mantissa)) *
                           static_cast<uint32_t>(rho.mantissa);
  return {static_cast<int64_t>(product >> 31),
          31 - lr.exponent - rho.exponent - exponent - kStepFractionBits};
}

// |acc| < 2^31, so the product has at most 62 bits.
inline int64_t scaled_step(int32_t acc, const StepFactor& factor) {
  const int64_t product = acc * factor.value;
  if (factor.shift > 62 || product == 0) return 0;
  if (factor.shift >= 0) return rshift_round_64(product, factor.shift);
  const int32_t left = -factor.shift < 32 ? -factor.shift : 32;
  const int64_t limit = int64_t{1} << 40;
  const int64_t fits = limit >> left;
  if (product > fits) return limit;
  if (product < -fits) return -limit;
  return product * (int64_t{1} << left);
}

inline int8_t stepped_weight(int32_t w, int32_t acc, const StepFactor& factor, uint32_t key,
                             uint32_t index) {
  const int64_t d = clamp(scaled_step(acc, factor), -kWeightStepLimit, kWeightStepLimit);
  const int32_t random = static_cast<int32_t>(random_bits16(key, index));
  const int32_t change = (static_cast<int32_t>(d) + random) >> kStepFractionBits;
  return static_cast<int8_t>(clamp(w - change, -127, 127));
}

}  // namespace tbft
