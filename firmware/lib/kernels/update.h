// Block-floating-point accumulation of gradients over a batch and integer SGD (docs/numerics.md, 4
// and 5).
#pragma once

#include <cstdint>

namespace tbft {

constexpr int16_t kEmptyExponent =
    -32768;  // the accumulator of a row that has received nothing yet

// Adds g [n] * 2^g_exponent to acc [n] * 2^*exponent; both acc and *exponent are updated. An empty
// row's acc is not read. |g| < 2^31; exponents within +-32000.
void accumulate_row(const int32_t* g, int32_t g_exponent, uint32_t n, int16_t* acc,
                    int16_t* exponent);
void accumulate_row_ref(const int32_t* g, int32_t g_exponent, uint32_t n, int16_t* acc,
                        int16_t* exponent);

// The same for one channel's bias.
void accumulate_bias(int32_t g, int32_t g_exponent, int32_t* acc, int16_t* exponent);

// value = mantissa * 2^(exponent - 31), mantissa in [2^30, 2^31); zero is (0, 0).
struct NormalizedPair {
  int32_t mantissa;
  int32_t exponent;
};

struct SgdStep {
  NormalizedPair lr;  // learning rate divided by the batch size
  uint32_t key;       // random_key(seed, step, tensor) of the tensor being updated
};

// Elements of a row in its tensor: element j of the row is number first + j * stride (conv2d: o * n
// and 1; depthwise [ky,kx,c]: c and C). The number also selects its random bits, where it has any.
struct RowIndex {
  uint32_t first;
  uint32_t stride;
};

// Batch updates: moves w[first + j * stride] by the whole steps that acc[j] * 2^*exponent holds and
// leaves the rest of each step in acc, j = 0..n-1; w is the whole tensor. Then acc is scaled up to
// its 16 bits; *exponent becomes kEmptyExponent when nothing is left. Skip a row that is empty
// already.
void apply_row_s8(const NormalizedPair& lr, const NormalizedPair& rho, uint32_t n,
                  const RowIndex& index, int16_t* acc, int16_t* exponent, int8_t* w);
void apply_row_s8_ref(const NormalizedPair& lr, const NormalizedPair& rho, uint32_t n,
                      const RowIndex& index, int16_t* acc, int16_t* exponent, int8_t* w);

// Immediate updates: w[first + j * stride] -= the stochastically rounded update of
// g[j] * 2^exponent, j = 0..n-1; w is the whole tensor.
void sgd_row_s8(const SgdStep& step, const NormalizedPair& rho, const int32_t* g, int32_t exponent,
                uint32_t n, const RowIndex& index, int8_t* w);
void sgd_row_s8_ref(const SgdStep& step, const NormalizedPair& rho, const int32_t* g,
                    int32_t exponent, uint32_t n, const RowIndex& index, int8_t* w);

// One bias: number index in its tensor; *bias stays within +-2^30.
void sgd_bias(const SgdStep& step, const NormalizedPair& rho, int32_t acc, int32_t exponent,
              uint32_t index, int32_t* bias);

}  // namespace tbft
