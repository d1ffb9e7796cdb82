#include "kernels/dispatch.h"
#include "kernels/sgd_step.h"
#include "kernels/update.h"

namespace tbft {
namespace {

template <typename Gradient>
void sgd_row_plain(const SgdStep& step, const NormalizedPair& rho, const Gradient* acc,
                   int32_t exponent, uint32_t n, const RowIndex& index, int8_t* w) {
  const StepFactor factor = step_factor(step.lr, rho, exponent);
  uint32_t element = index.first;
  for (uint32_t j = 0; j < n; ++j, element += index.stride) {
    w[element] = stepped_weight(w[element], acc[j], factor, step.key, element);
  }
}

template <typename Gradient>
void sgd_row(const SgdStep& step, const NormalizedPair& rho, const Gradient* acc, int32_t exponent,
             uint32_t n, const RowIndex& index, int8_t* w) {
#if TBFT_KERNELS_X86
  if (sgd_row_x86(step_factor(step.lr, rho, exponent), step.key, acc, n, index, w)) return;
#endif
  sgd_row_plain(step, rho, acc, exponent, n, index, w);
}

}  // namespace

void sgd_row_s8_ref(const SgdStep& step, const NormalizedPair& rho, const int16_t* acc,
                    int32_t exponent, uint32_t n, const RowIndex& index, int8_t* w) {
  sgd_row_plain(step, rho, acc, exponent, n, index, w);
}

void sgd_row_s8(const SgdStep& step, const NormalizedPair& rho, const int16_t* acc,
                int32_t exponent, uint32_t n, const RowIndex& index, int8_t* w) {
  sgd_row(step, rho, acc, exponent, n, index, w);
}

void sgd_row_s8(const SgdStep& step, const NormalizedPair& rho, const int32_t* g, int32_t exponent,
                uint32_t n, const RowIndex& index, int8_t* w) {
  sgd_row(step, rho, g, exponent, n, index, w);
}

void sgd_bias(const SgdStep& step, const NormalizedPair& rho, int32_t acc, int32_t exponent,
              uint32_t index, int32_t* bias) {
  const StepFactor factor = step_factor(step.lr, rho, exponent);
  const int64_t d = clamp(scaled_step(acc, factor), -kBiasStepLimit, kBiasStepLimit);
  const int64_t change = (d + random_bits16(step.key, index)) >> kStepFractionBits;
  *bias = static_cast<int32_t>(clamp(*bias - change, -kBiasLimit, kBiasLimit));
}

}  // namespace tbft
