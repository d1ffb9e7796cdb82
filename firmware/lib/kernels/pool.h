// Pooling without padding, one sample, HWC int8; scale and zero point are the same in and out.
#pragma once

#include "kernels/conv_shape.h"

namespace tbft {

// y is overwritten, rows in ascending order; overlap with x as in conv2d_s8_fwd.
void average_pool_s8_fwd(const PoolShape& shape, const int8_t* x, int8_t* y);
void max_pool_s8_fwd(const PoolShape& shape, const int8_t* x, int8_t* y);

// e_x [in_h, in_w, channels] is overwritten (0 where no window reads). Returns what the exponent of
// e_x exceeds that of e_y by (may be negative). No overlap. The largest sum of errors,
// times 2^15 / (kernel_h * kernel_w) for windows that are no power of two, is below 2^31.
int32_t average_pool_bwd(const PoolShape& shape, const int8_t* e_y, int8_t* e_x);
int32_t average_pool_bwd(const PoolShape& shape, const int16_t* e_y, int16_t* e_x);

// The same; x is the forward input. The error goes to the first maximum of each window in row-major
// order.
int32_t max_pool_bwd(const PoolShape& shape, const int8_t* e_y, const int8_t* x, int8_t* e_x);
int32_t max_pool_bwd(const PoolShape& shape, const int16_t* e_y, const int8_t* x, int16_t* e_x);

}  // namespace tbft
