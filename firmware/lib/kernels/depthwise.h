// int8 depthwise convolution, depth multiplier 1 (out_c == in_c), weights [ky,kx,c]. Conventions as
// in conv2d.h.
#pragma once

#include "kernels/conv_shape.h"
#include "kernels/error_view.h"

namespace tbft {

// y is overwritten; overlap with x as in conv2d_s8_fwd. For a 1x1 kernel with stride 1, y == x (in
// place) is allowed.
void depthwise_s8_fwd(const Conv2dShape& shape, const int8_t* x, const int8_t* w,
                      const int32_t* bias, const Requantization& rq, int8_t* y);
void depthwise_s8_fwd_ref(const Conv2dShape& shape, const int8_t* x, const int8_t* w,
                          const int32_t* bias, const Requantization& rq, int8_t* y);

// As conv2d_s8_bwd_input; q [channels]. No overlap.
uint32_t depthwise_s8_bwd_input(const Conv2dShape& shape, const ErrorView& e_y, const int8_t* w,
                                const int16_t* q, int32_t shift, int8_t* e_x);
uint32_t depthwise_s8_bwd_input_ref(const Conv2dShape& shape, const ErrorView& e_y, const int8_t* w,
                                    const int16_t* q, int32_t shift, int8_t* e_x);

// Gradient of all channels, overwritten. g [c][ky][kx] (the row of channel c is contiguous: kh*kw
// numbers; note that the weights themselves are [ky,kx,c]); bias [c]. Typically both lie in the
// op's scratch of *_scratch_bytes(): g first, then bias. Exponent that of e_y.
void depthwise_s8_bwd_weight(const Conv2dShape& shape, const ErrorView& e_y, const int8_t* x,
                             int32_t x_zero_point, int32_t* g, int32_t* bias);
void depthwise_s8_bwd_weight_ref(const Conv2dShape& shape, const ErrorView& e_y, const int8_t* x,
                                 int32_t x_zero_point, int32_t* g, int32_t* bias);
uint64_t depthwise_s8_bwd_weight_scratch_bytes(const Conv2dShape& shape);

// bias[c] = sum of e_y over pixels, overwritten; |sum| < 2^31 as in the weight gradient. The
// affine's only gradient.
void bias_s8_bwd(const ErrorView& e_y, int32_t pixels, int32_t channels, int32_t* bias);

// Input gradient of the affine (1x1 kernel, stride 1), exact and wide: e_x [pixels, channels] in
// [-32767, 32767] is overwritten with e_y * w', plus add by the fan-out rule unless both of add's
// pointers are null. e_y is read through its view (bits 7), add as it is stored (its shift and bits
// do not matter). Returns the exponent of e_x; exponents within +-30000. e_x may be add.s16 (in
// place), and overlaps nothing else.
int32_t affine_bwd(int32_t pixels, int32_t channels, const ErrorView& e_y, int32_t exponent,
                   const int8_t* w, const int16_t* q, int32_t t, const ErrorView& add,
                   int32_t add_exponent, int16_t* e_x);
int32_t affine_bwd_ref(int32_t pixels, int32_t channels, const ErrorView& e_y, int32_t exponent,
                       const int8_t* w, const int16_t* q, int32_t t, const ErrorView& add,
                       int32_t add_exponent, int16_t* e_x);

}  // namespace tbft
