#include "kernels/dispatch.h"
#include "kernels/sgd_step.h"
#include "kernels/update.h"

namespace tbft {
namespace {

constexpr int32_t kLowestFastShift = 33;
constexpr int32_t kHighestFastShift = 62;

// The same steps where the product's low half only rounds, as it does unless a step is enormous: a
// high multiplication instead of 64-bit shifts, and random bits made once for two elements.
void sgd_row_fast(const StepFactor& factor, uint32_t key, const int32_t* g, uint32_t n,
                  const RowIndex& index, int8_t* w) {
  constexpr int32_t kLimit = static_cast<int32_t>(kWeightStepLimit);
  const int32_t value = static_cast<int32_t>(factor.value);
  const int32_t right = factor.shift - kLowestFastShift;
  uint32_t element = index.first;
  uint32_t pair = ~(element >> 1);
  uint32_t random = 0;
  for (uint32_t j = 0; j < n; ++j, element += index.stride) {
    if (element >> 1 != pair) {
      pair = element >> 1;
      random = mix32(key + pair * kGolden);
    }
    const int32_t bits = static_cast<int32_t>((element & 1) != 0 ? random >> 16 : random & 0xffffU);
    const int32_t high = static_cast<int32_t>((int64_t{g[j]} * value) >> 32);
    const int32_t step = clamp(((high >> right) + 1) >> 1, -kLimit, kLimit);
    const int32_t change = (step + bits) >> kStepFractionBits;
    w[element] = static_cast<int8_t>(clamp(w[element] - change, -127, 127));
  }
}

}  // namespace

void sgd_row_s8_ref(const SgdStep& step, const NormalizedPair& rho, const int32_t* g,
                    int32_t exponent, uint32_t n, const RowIndex& index, int8_t* w) {
  const StepFactor factor = step_factor(step.lr, rho, exponent);
  uint32_t element = index.first;
  for (uint32_t j = 0; j < n; ++j, element += index.stride) {
    w[element] = stepped_weight(w[element], g[j], factor, step.key, element);
  }
}

void sgd_row_s8(const SgdStep& step, const NormalizedPair& rho, const int32_t* g, int32_t exponent,
                uint32_t n, const RowIndex& index, int8_t* w) {
#if TBFT_KERNELS_X86
  if (sgd_row_x86(step_factor(step.lr, rho, exponent), step.key, g, n, index, w)) return;
#endif
  const StepFactor factor = step_factor(step.lr, rho, exponent);
  if (factor.shift >= kLowestFastShift && factor.shift <= kHighestFastShift) {
    return sgd_row_fast(factor, step.key, g, n, index, w);
  }
  sgd_row_s8_ref(step, rho, g, exponent, n, index, w);
}

void sgd_bias(const SgdStep& step, const NormalizedPair& rho, int32_t acc, int32_t exponent,
              uint32_t index, int32_t* bias) {
  const StepFactor factor = step_factor(step.lr, rho, exponent);
  const int64_t d = clamp(scaled_step(acc, factor), -kBiasStepLimit, kBiasStepLimit);
  const int64_t change = (d + random_bits16(step.key, index)) >> kStepFractionBits;
  *bias = static_cast<int32_t>(clamp(*bias - change, -kBiasLimit, kBiasLimit));
}

}  // namespace tbft
