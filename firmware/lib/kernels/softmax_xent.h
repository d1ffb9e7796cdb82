// The last linear layer's accumulators, softmax cross-entropy in fixed point and its gradient
// (docs/numerics.md, 3).
#pragma once

#include <cstdint>

namespace tbft {

struct LossParams {
  int32_t inputs;   // I
  int32_t classes;  // N, 2..1024
  int32_t x_zero_point;
  int32_t multiplier;  // m_u
  int32_t shift;       // s_u, [-31, 30]
};

struct LossResult {
  int64_t loss_q16;    // nats in Q16, in [0, 2^34)
  int32_t prediction;  // the first largest logit
  int32_t exponent;    // of the error; meaningless when has_error is false
  bool has_error;      // false when every gradient is 0: skip the sample's backward pass
};

// acc[o] = bias[o] + sum_i (x[i] - x_zero_point) * w[o][i]; overwritten. bias may be null.
void linear_s8_accumulators(const LossParams& params, const int8_t* x, const int8_t* w,
                            const int32_t* bias, int32_t* acc);

// label in [0, classes). e [classes] in [-127, 127] is overwritten (all 0 when has_error is false);
// e may be null when only loss and prediction are wanted. work: 8 bytes per class, 4-byte aligned.
// acc is not changed.
LossResult softmax_xent(const LossParams& params, const int32_t* acc, int32_t label, void* work,
                        int8_t* e);

// Both in one: scratch of linear_loss_scratch_bytes(), 16-byte aligned. e must not overlap x.
LossResult linear_loss(const LossParams& params, const int8_t* x, const int8_t* w,
                       const int32_t* bias, int32_t label, void* scratch, int8_t* e);
uint64_t linear_loss_scratch_bytes(int32_t inputs, int32_t classes);

// log2(value) in Q16, value >= 1.
int32_t log2_q16(uint64_t value);

}  // namespace tbft
