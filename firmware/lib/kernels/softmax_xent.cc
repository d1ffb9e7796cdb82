#include "kernels/softmax_xent.h"

#include "kernels/conv_shape.h"
#include "kernels/fixed_point.h"
#include "kernels/log_tables.h"

namespace tbft {
namespace {

// 2^24 * 2^(-d / 2^12), d in [0, 2^30]; result in [0, 2^24].
uint32_t exp2_q24(int32_t d) {
  const int32_t whole = d >> 12;
  if (whole >= 25) return 0;
  const int32_t fraction = d & 4095;
  const int32_t j = fraction >> 6;
  const int32_t r = fraction & 63;
  const int32_t step = kExp2Table[j] - kExp2Table[j + 1];
  return static_cast<uint32_t>((kExp2Table[j] - ((step * r) >> 6)) >> whole);
}

constexpr int32_t kOneQ15 = 1 << 15;
constexpr int64_t kFarthest = int64_t{1}
                              << 30;  // logits farther than this from the largest count as this far

}  // namespace

int32_t log2_q16(uint64_t value) {
  const int32_t b = bitlen(value) - 1;
  const uint64_t mantissa = b <= 30 ? value << (30 - b) : value >> (b - 30);
  const int32_t x = static_cast<int32_t>(mantissa >> 14) - 65536;
  const int32_t j = (x >> 10) & 63;
  const int32_t r = x & 1023;
  const int32_t step = kLog2Table[j + 1] - kLog2Table[j];
  return (b << 16) + kLog2Table[j] + ((step * r) >> 10);
}

void linear_s8_accumulators(const LossParams& p, const int8_t* x, const int8_t* w,
                            const int32_t* bias, int32_t* acc) {
  for (int32_t o = 0; o < p.classes; ++o) {
    int32_t sum = 0;
    for (int32_t i = 0; i < p.inputs; ++i) sum += (x[i] - p.x_zero_point) * w[i];
    acc[o] = bias == nullptr ? sum : wrapping_add(sum, bias[o]);
    w += p.inputs;
  }
}

LossResult softmax_xent(const LossParams& p, const int32_t* acc, int32_t label, void* work,
                        int8_t* e) {
  int32_t* const logit = static_cast<int32_t*>(work);  // u, then g
  int32_t* const power = logit + p.classes;            // v, at most 2^24
  LossResult result = {0, 0, 0, false};
  for (int32_t i = 0; i < p.classes; ++i) {
    logit[i] = multiply_by_quantized_multiplier(acc[i], p.multiplier, p.shift);
    if (logit[i] > logit[result.prediction]) result.prediction = i;
  }
  const int32_t top = logit[result.prediction];
  uint64_t total = 0;
  int64_t label_distance = 0;
  for (int32_t i = 0; i < p.classes; ++i) {
    const int64_t distance = clamp(int64_t{top} - logit[i], int64_t{0}, kFarthest);
    if (i == label) label_distance = distance;
    power[i] = static_cast<int32_t>(exp2_q24(static_cast<int32_t>(distance)));
    total += static_cast<uint32_t>(power[i]);
  }
  // total >= 2^24: the largest logit contributes that much.
  const int64_t loss_base2 = label_distance * 16 + log2_q16(total) - (24 << 16);
  const int64_t loss = (loss_base2 * 45426 + 32768) >> 16;  // 45426 = ln(2) in Q16
  result.loss_q16 = loss > 0 ? loss : 0;

  uint32_t largest = 0;
  for (int32_t i = 0; i < p.classes; ++i) {
    const uint64_t scaled = static_cast<uint64_t>(static_cast<uint32_t>(power[i])) << 15;
    const int32_t probability = static_cast<int32_t>((scaled + (total >> 1)) / total);
    logit[i] = probability - (i == label ? kOneQ15 : 0);
    if (magnitude(logit[i]) > largest) largest = magnitude(logit[i]);
  }
  const int32_t shift = needed_shift(largest);
  result.has_error = largest != 0;
  result.exponent = shift - 15;
  if (e != nullptr) {
    for (int32_t i = 0; i < p.classes; ++i) e[i] = to_error(logit[i], shift);
  }
  return result;
}

LossResult linear_loss(const LossParams& params, const int8_t* x, const int8_t* w,
                       const int32_t* bias, int32_t label, void* scratch, int8_t* e) {
  int32_t* const acc = static_cast<int32_t*>(scratch);
  linear_s8_accumulators(params, x, w, bias, acc);
  return softmax_xent(params, acc, label, acc + params.classes, e);
}

uint64_t linear_loss_scratch_bytes(int32_t inputs, int32_t classes) {
  const uint64_t columns = 4 * round_up_16(static_cast<uint64_t>(inputs)) * 2;
  return columns + round_up_16(12 * static_cast<uint64_t>(classes));
}

}  // namespace tbft
