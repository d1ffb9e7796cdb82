// int8 convolution: forward, gradient by the input, gradient by the weights.
//
// Each function without suffix is the fast form chosen at build time (dispatch.h); the one ending
// in _ref is the plain loop nest it must equal bit for bit. Scratch is 16-byte aligned and at least
// *_scratch_bytes(); its contents on entry do not matter and on exit mean nothing unless said
// otherwise. Activations HWC int8, weights OHWI int8.
#pragma once

#include "kernels/conv_shape.h"
#include "kernels/error_view.h"

namespace tbft {

// y [out_h, out_w, out_c] is overwritten. bias [out_c] may be null (zero).
// Range: |bias| + kh*kw*in_c*127*255 < 2^31.
// Overlap: rows of y are written in ascending order, row r only after all reads of input rows <
// r*stride_h - pad_top, so y may lie over x under the rule of docs/artifact.md. It may not overlap
// anything else.
void conv2d_s8_fwd(const Conv2dShape& shape, const int8_t* x, const int8_t* w, const int32_t* bias,
                   const Requantization& rq, void* scratch, int8_t* y);
void conv2d_s8_fwd_ref(const Conv2dShape& shape, const int8_t* x, const int8_t* w,
                       const int32_t* bias, const Requantization& rq, int8_t* y);
uint64_t conv2d_s8_fwd_scratch_bytes(const Conv2dShape& shape);

// e_x [in_h, in_w, in_c] = clamp(rshift_round(acc, shift), -127, 127), overwritten; returns max
// |acc| before the shift, so that the caller runs it again with needed_shift(max) when that exceeds
// shift. e_y [out_h, out_w, out_c] as its view reads it, with 7 bits: in [-127, 127]; w as in the
// forward pass, q [out_c] in [0, 32767]; shift in [0, 24]; kh*kw*out_c <= 8192. No overlap of e_x
// and e_y.
uint32_t conv2d_s8_bwd_input(const Conv2dShape& shape, const ErrorView& e_y, const int8_t* w,
                             const int16_t* q, int32_t shift, void* scratch, int8_t* e_x);
uint32_t conv2d_s8_bwd_input_ref(const Conv2dShape& shape, const ErrorView& e_y, const int8_t* w,
                                 const int16_t* q, int32_t shift, int8_t* e_x);
uint64_t conv2d_s8_bwd_input_scratch_bytes(const Conv2dShape& shape);

// Up to four complete rows of a weight gradient: row first_row + r has its kh*kw*in_c gradients
// (order [ky,kx,i]) at g[r] and the bias gradient in bias[r]. They live in the kernel's scratch and
// last until the sink returns; the sink may overwrite them. Exponent: that of e_y; units: s_x for
// g, 1 for bias.
struct GradientRows {
  int32_t first_row;
  int32_t count;  // 1..4
  int32_t* g[4];
  int32_t bias[4];
};
using GradientSink = void (*)(void* context, const GradientRows& rows);

// Computes the gradient four output channels at a time and hands each group to the sink, in
// ascending order; every row appears exactly once. e_y [out_h, out_w, out_c] as its view reads it,
// in [-127, 127] if narrow and up to +-2047 (11 bits) if wide; x [in_h, in_w, in_c]; out_h*out_w <=
// 65536, and |e_y| * 255 * out_h*out_w < 2^31. x and e_y must not change while it runs; the weights
// may (they are not read), so a sink may update them at once.
void conv2d_s8_bwd_weight(const Conv2dShape& shape, const ErrorView& e_y, const int8_t* x,
                          int32_t x_zero_point, void* scratch, GradientSink sink, void* context);
uint64_t conv2d_s8_bwd_weight_scratch_bytes(const Conv2dShape& shape);

// One row: g [kh*kw*in_c] and *bias are overwritten.
void conv2d_s8_bwd_weight_row_ref(const Conv2dShape& shape, const ErrorView& e_y, const int8_t* x,
                                  int32_t x_zero_point, int32_t row, int32_t* g, int32_t* bias);

}  // namespace tbft
