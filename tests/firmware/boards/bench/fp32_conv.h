// Convolutions in float32 as plain C does them, and as libraries for training on microcontrollers
// have them (AIfES, PULP-TrainLib on one core): what the int8 kernels are compared with. Layouts,
// shapes and padding as in kernels/conv2d.h.
#pragma once

#include "kernels/conv_shape.h"

namespace tbft::bench {

// y [out_h, out_w, out_c] is overwritten; w [out_c, kernel_h, kernel_w, in_c], bias [out_c].
void conv2d_f32_fwd(const Conv2dShape& shape, const float* x, const float* w, const float* bias,
                    float* y);
// e_x [in_h, in_w, in_c] is overwritten with the input gradient of e_y [out_h, out_w, out_c].
void conv2d_f32_bwd_input(const Conv2dShape& shape, const float* e_y, const float* w, float* e_x);
// g, shaped as w, is overwritten with the weight gradient, g_bias [out_c] with the bias's.
void conv2d_f32_bwd_weight(const Conv2dShape& shape, const float* e_y, const float* x, float* g,
                           float* g_bias);

}  // namespace tbft::bench
