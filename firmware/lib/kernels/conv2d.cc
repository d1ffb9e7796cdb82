// Choice of form.
#include "kernels/conv2d.h"

#include "kernels/dispatch.h"

namespace tbft {

void conv2d_s8_fwd(const Conv2dShape& shape, const int8_t* x, const int8_t* w, const int32_t* bias,
                   const Requantization& rq, void* scratch, int8_t* y) {
#if TBFT_KERNELS_X86
  if (conv2d_s8_fwd_x86(shape, x, w, bias, rq, y)) return;
#endif
#if TBFT_KERNELS_ARM_DSP
  if (conv2d_s8_fwd_arm_dsp(shape, x, w, bias, rq, scratch, y)) return;
#endif
#if TBFT_KERNELS_RV32
  if (conv2d_s8_fwd_rv32(shape, x, w, bias, rq, scratch, y)) return;
#endif
#if TBFT_KERNELS_LX7
  if (conv2d_s8_fwd_lx7(shape, x, w, bias, rq, scratch, y)) return;
#endif
  conv2d_s8_fwd_portable(shape, x, w, bias, rq, scratch, y);
}

uint32_t conv2d_s8_bwd_input(const Conv2dShape& shape, const ErrorView& e_y, const int8_t* w,
                             const int16_t* q, int32_t shift, void* scratch, int8_t* e_x) {
#if TBFT_KERNELS_X86
  uint32_t largest = 0;
  if (conv2d_s8_bwd_input_x86(shape, e_y, w, q, shift, e_x, &largest)) return largest;
#endif
#if TBFT_KERNELS_ARM_DSP
  uint32_t largest = 0;
  if (conv2d_s8_bwd_input_arm_dsp(shape, e_y, w, q, shift, scratch, e_x, &largest)) return largest;
#endif
#if TBFT_KERNELS_RV32
  uint32_t largest = 0;
  if (conv2d_s8_bwd_input_rv32(shape, e_y, w, q, shift, scratch, e_x, &largest)) return largest;
#endif
#if TBFT_KERNELS_LX7
  uint32_t largest = 0;
  if (conv2d_s8_bwd_input_lx7(shape, e_y, w, q, shift, scratch, e_x, &largest)) return largest;
#endif
  return conv2d_s8_bwd_input_portable(shape, e_y, w, q, shift, scratch, e_x);
}

void conv2d_s8_bwd_weight(const Conv2dShape& shape, const ErrorView& e_y, const int8_t* x,
                          int32_t x_zero_point, void* scratch, GradientSink sink, void* context) {
#if TBFT_KERNELS_X86
  if (conv2d_s8_bwd_weight_x86(shape, e_y, x, x_zero_point, scratch, sink, context)) return;
#endif
#if TBFT_KERNELS_ARM_DSP
  if (conv2d_s8_bwd_weight_arm_dsp(shape, e_y, x, x_zero_point, scratch, sink, context)) return;
#endif
#if TBFT_KERNELS_RV32
  if (conv2d_s8_bwd_weight_rv32(shape, e_y, x, x_zero_point, scratch, sink, context)) return;
#endif
#if TBFT_KERNELS_LX7
  if (conv2d_s8_bwd_weight_lx7(shape, e_y, x, x_zero_point, scratch, sink, context)) return;
#endif
  conv2d_s8_bwd_weight_portable(shape, e_y, x, x_zero_point, scratch, sink, context);
}

}  // namespace tbft
