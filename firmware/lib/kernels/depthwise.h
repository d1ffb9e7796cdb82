// int8 depthwise convolution, depth multiplier 1 (out_c == in_c), weights [ky,kx,c]. Conventions as in conv2d.h.
#pragma once

#include "kernels/conv_shape.h"

namespace tbft {

// y is overwritten; overlap with x as in conv2d_s8_fwd. For a 1x1 kernel with stride 1, y == x (in place) is allowed.
void depthwise_s8_fwd(const Conv2dShape& shape, const int8_t* x, const int8_t* w,
                      const int32_t* bias, const Requantization& rq, void* scratch, int8_t* y);
void depthwise_s8_fwd_ref(const Conv2dShape& shape, const int8_t* x, const int8_t* w,
                          const int32_t* bias, const Requantization& rq, int8_t* y);
uint64_t depthwise_s8_scratch_bytes(const Conv2dShape& shape);  // forward and input gradient

// As conv2d_s8_bwd_input; q [channels]. For a 1x1 kernel with stride 1, e_x == e_y (in place) is allowed only if the
// caller knows that no second run will be needed.
uint32_t depthwise_s8_bwd_input(const Conv2dShape& shape, const int8_t* e_y, const int8_t* w,
                                const int16_t* q, int32_t shift, void* scratch, int8_t* e_x);
uint32_t depthwise_s8_bwd_input_ref(const Conv2dShape& shape, const int8_t* e_y, const int8_t* w,
                                    const int16_t* q, int32_t shift, int8_t* e_x);

// Gradient of all channels, overwritten. g [c][ky][kx] (the row of channel c is contiguous: kh*kw numbers; note that the
// weights themselves are [ky,kx,c]); bias [c]. Typically both lie in the op's scratch of *_scratch_bytes():
// g first, then bias. Exponent that of e_y.
void depthwise_s8_bwd_weight(const Conv2dShape& shape, const int8_t* e_y, const int8_t* x,
                             int32_t x_zero_point, int32_t* g, int32_t* bias);
void depthwise_s8_bwd_weight_ref(const Conv2dShape& shape, const int8_t* e_y, const int8_t* x,
                                 int32_t x_zero_point, int32_t* g, int32_t* bias);
uint64_t depthwise_s8_bwd_weight_scratch_bytes(const Conv2dShape& shape);

// bias[c] = sum of e_y over pixels, overwritten; pixels <= 65536. The affine's only gradient.
void bias_s8_bwd(const int8_t* e_y, int32_t pixels, int32_t channels, int32_t* bias);

}  // namespace tbft
