// Which form of the kernels this build uses. All forms give the same bits.
//
// TBFT_KERNELS_X86: AVX2 or more (computers), up to 256 KiB of stack instead of the op's scratch.
// Otherwise the portable form, which keeps to the op's scratch. A port to a microcontroller with
// its own SIMD instructions adds a macro here and a conv2d_<port>.cc beside conv2d_x86.cc.
#pragma once

#include "kernels/conv2d.h"
#include "kernels/depthwise.h"
#include "kernels/sgd_step.h"

#if defined(__AVX2__) && !defined(TBFT_KERNELS_PORTABLE)
#define TBFT_KERNELS_X86 1
#else
#define TBFT_KERNELS_X86 0
#endif

namespace tbft {

// The portable form is always compiled, and tested on every machine. Contracts as in conv2d.h.
void conv2d_s8_fwd_portable(const Conv2dShape& shape, const int8_t* x, const int8_t* w,
                            const int32_t* bias, const Requantization& rq, void* scratch,
                            int8_t* y);
uint32_t conv2d_s8_bwd_input_portable(const Conv2dShape& shape, const ErrorView& e_y,
                                      const int8_t* w, const int16_t* q, int32_t shift,
                                      void* scratch, int8_t* e_x);
void conv2d_s8_bwd_weight_portable(const Conv2dShape& shape, const ErrorView& e_y, const int8_t* x,
                                   int32_t x_zero_point, void* scratch, GradientSink sink,
                                   void* context);

#if TBFT_KERNELS_X86
// These return false, having done nothing, where they do not apply: mostly shapes too large for
// their buffers on the stack.
bool conv2d_s8_fwd_x86(const Conv2dShape& shape, const int8_t* x, const int8_t* w,
                       const int32_t* bias, const Requantization& rq, int8_t* y);
bool conv2d_s8_bwd_input_x86(const Conv2dShape& shape, const ErrorView& e_y, const int8_t* w,
                             const int16_t* q, int32_t shift, int8_t* e_x, uint32_t* largest);
bool conv2d_s8_bwd_weight_x86(const Conv2dShape& shape, const ErrorView& e_y, const int8_t* x,
                              int32_t x_zero_point, void* scratch, GradientSink sink,
                              void* context);
bool depthwise_s8_fwd_x86(const Conv2dShape& shape, const int8_t* x, const int8_t* w,
                          const int32_t* bias, const Requantization& rq, int8_t* y);
bool depthwise_s8_bwd_input_x86(const Conv2dShape& shape, const ErrorView& e_y, const int8_t* w,
                                const int16_t* q, int32_t shift, int8_t* e_x, uint32_t* largest);
bool affine_bwd_x86(int32_t pixels, int32_t channels, const ErrorView& e_y, int32_t exponent,
                    const int8_t* w, const int16_t* q, int32_t t, const ErrorView& add,
                    int32_t add_exponent, int16_t* e_x, int32_t* result);
bool sgd_row_x86(const StepFactor& factor, uint32_t key, const int16_t* g, uint32_t n,
                 const RowIndex& index, int8_t* w);
bool sgd_row_x86(const StepFactor& factor, uint32_t key, const int32_t* g, uint32_t n,
                 const RowIndex& index, int8_t* w);
#endif

}  // namespace tbft
