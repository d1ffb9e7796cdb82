// Which form of the kernels this build uses. All forms give the same bits.
//
// TBFT_KERNELS_X86: AVX2 or more (computers), up to 256 KiB of stack instead of the op's scratch.
// Otherwise the portable form, which keeps to the op's scratch. A port to a microcontroller with
// its own SIMD instructions adds a macro here and a conv2d_<port>.cc beside conv2d_x86.cc.
#pragma once

#include "kernels/conv2d.h"
#include "kernels/depthwise.h"
#include "kernels/elementwise.h"
#include "kernels/sgd_step.h"

#if defined(__AVX2__) && !defined(TBFT_KERNELS_PORTABLE)
#define TBFT_KERNELS_X86 1
#else
#define TBFT_KERNELS_X86 0
#endif

// Xtensa cores with MAC16 and zero-overhead loops: ESP32, ESP32-S3. (The vector instructions of the
// ESP32-S3 would come in front of this as TBFT_KERNELS_ESP32S3: docs/kernels-lx7.md says how.)
#if defined(__XTENSA__) && !defined(TBFT_KERNELS_PORTABLE)
#if __has_include(<xtensa/config/core-isa.h>)
#include <xtensa/config/core-isa.h>
#define TBFT_KERNELS_LX7 (XCHAL_HAVE_MAC16 && XCHAL_HAVE_LOOPS && XCHAL_HAVE_MINMAX)
#elif __XCHAL_HAVE_MAC16 && __XCHAL_HAVE_LOOPS && __XCHAL_HAVE_MINMAX
#define TBFT_KERNELS_LX7 1
#else
#define TBFT_KERNELS_LX7 0
#endif
#else
#define TBFT_KERNELS_LX7 0
#endif

// Cortex-M with the DSP extension: M4, M7, M33, M55.
#if defined(__ARM_FEATURE_DSP) && defined(__ARM_ARCH_PROFILE) && !defined(TBFT_KERNELS_PORTABLE)
#define TBFT_KERNELS_ARM_DSP (__ARM_FEATURE_DSP && __ARM_ARCH_PROFILE == 'M')
#else
#define TBFT_KERNELS_ARM_DSP 0
#endif

// RISC-V with 32-bit registers and the M extension: ESP32-C3, ESP32-P4.
#if defined(__riscv) && defined(__riscv_mul) && !defined(TBFT_KERNELS_PORTABLE)
#define TBFT_KERNELS_RV32 (__riscv_xlen == 32)
#else
#define TBFT_KERNELS_RV32 0
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
bool sgd_row_x86(const StepFactor& factor, uint32_t key, const int32_t* g, uint32_t n,
                 const RowIndex& index, int8_t* w);
#endif

#if TBFT_KERNELS_ARM_DSP
// These keep to the op's scratch and return false, having done nothing, where it does not hold
// them: odd channel counts of kernels of nine and more columns, mostly.
bool conv2d_s8_fwd_arm_dsp(const Conv2dShape& shape, const int8_t* x, const int8_t* w,
                           const int32_t* bias, const Requantization& rq, void* scratch, int8_t* y);
bool conv2d_s8_bwd_input_arm_dsp(const Conv2dShape& shape, const ErrorView& e_y, const int8_t* w,
                                 const int16_t* q, int32_t shift, void* scratch, int8_t* e_x,
                                 uint32_t* largest);
bool conv2d_s8_bwd_weight_arm_dsp(const Conv2dShape& shape, const ErrorView& e_y, const int8_t* x,
                                  int32_t x_zero_point, void* scratch, GradientSink sink,
                                  void* context);
void relu_bwd_arm_dsp(const int8_t* e, const int8_t* y, uint32_t n, int32_t act_min,
                      int32_t act_max, bool relu6, int8_t* out);
void relu_bwd_arm_dsp(const int16_t* e, const int8_t* y, uint32_t n, int32_t act_min,
                      int32_t act_max, bool relu6, int16_t* out);
uint32_t error_magnitude_arm_dsp(const int16_t* e, uint32_t n);
uint32_t error_magnitude_arm_dsp(const int8_t* e, uint32_t n);
#endif

#if TBFT_KERNELS_LX7
// These keep to the op's scratch and return false, having done nothing, where a shape does not suit
// them or its padded form does not fit (single channels, mostly).
bool conv2d_s8_fwd_lx7(const Conv2dShape& shape, const int8_t* x, const int8_t* w,
                       const int32_t* bias, const Requantization& rq, void* scratch, int8_t* y);
bool conv2d_s8_bwd_input_lx7(const Conv2dShape& shape, const ErrorView& e_y, const int8_t* w,
                             const int16_t* q, int32_t shift, void* scratch, int8_t* e_x,
                             uint32_t* largest);
bool conv2d_s8_bwd_weight_lx7(const Conv2dShape& shape, const ErrorView& e_y, const int8_t* x,
                              int32_t x_zero_point, void* scratch, GradientSink sink,
                              void* context);
bool add_s8_fwd_lx7(const AddParams& params, const int8_t* a, const int8_t* b, uint32_t n,
                    int8_t* y);
// One channel of an affine: `pixels` elements, `channels` apart; y may be x.
void affine_channel_lx7(const int8_t* x, int32_t w, int32_t bias, const Requantization& rq,
                        int32_t channel, int32_t pixels, int32_t channels, int8_t* y);
#endif

#if TBFT_KERNELS_RV32
// These keep to the op's scratch and return false, having done nothing, where a shape does not suit
// them.
bool conv2d_s8_fwd_rv32(const Conv2dShape& shape, const int8_t* x, const int8_t* w,
                        const int32_t* bias, const Requantization& rq, void* scratch, int8_t* y);
bool conv2d_s8_bwd_input_rv32(const Conv2dShape& shape, const ErrorView& e_y, const int8_t* w,
                              const int16_t* q, int32_t shift, void* scratch, int8_t* e_x,
                              uint32_t* largest);
bool conv2d_s8_bwd_weight_rv32(const Conv2dShape& shape, const ErrorView& e_y, const int8_t* x,
                               int32_t x_zero_point, void* scratch, GradientSink sink,
                               void* context);
#endif

}  // namespace tbft
