// Choice of form, and the scratch table of docs/artifact.md.
#include "kernels/conv2d.h"

#include "kernels/dispatch.h"

namespace tbft {
namespace {

uint64_t padded_row_length(const Conv2dShape& s) {
  return round_up_16(static_cast<uint64_t>(s.kernel_h) * static_cast<uint64_t>(s.kernel_w) *
                     static_cast<uint64_t>(s.in_c));
}

}  // namespace

uint64_t conv2d_s8_fwd_scratch_bytes(const Conv2dShape& s) { return 4 * padded_row_length(s) * 2; }

uint64_t conv2d_s8_bwd_input_scratch_bytes(const Conv2dShape& s) {
  const uint64_t taps = static_cast<uint64_t>(s.kernel_h) * static_cast<uint64_t>(s.kernel_w);
  return (8 + 4) * round_up_16(taps * static_cast<uint64_t>(s.out_c)) * 2;
}

uint64_t conv2d_s8_bwd_weight_scratch_bytes(const Conv2dShape& s) {
  const uint64_t pixels = static_cast<uint64_t>(s.out_h) * static_cast<uint64_t>(s.out_w);
  return 4 * padded_row_length(s) * 4 + 4 * round_up_16(pixels) * 2 + 16;
}

void conv2d_s8_fwd(const Conv2dShape& shape, const int8_t* x, const int8_t* w, const int32_t* bias,
                   const Requantization& rq, void* scratch, int8_t* y) {
#if TBFT_KERNELS_X86
  if (conv2d_s8_fwd_x86(shape, x, w, bias, rq, y)) return;
#endif
  conv2d_s8_fwd_portable(shape, x, w, bias, rq, scratch, y);
}

uint32_t conv2d_s8_bwd_input(const Conv2dShape& shape, const ErrorView& e_y, const int8_t* w,
                             const int16_t* q, int32_t shift, void* scratch, int8_t* e_x) {
#if TBFT_KERNELS_X86
  uint32_t largest = 0;
  if (conv2d_s8_bwd_input_x86(shape, e_y, w, q, shift, e_x, &largest)) return largest;
#endif
  return conv2d_s8_bwd_input_portable(shape, e_y, w, q, shift, scratch, e_x);
}

void conv2d_s8_bwd_weight(const Conv2dShape& shape, const ErrorView& e_y, const int8_t* x,
                          int32_t x_zero_point, void* scratch, GradientSink sink, void* context) {
#if TBFT_KERNELS_X86
  if (conv2d_s8_bwd_weight_x86(shape, e_y, x, x_zero_point, scratch, sink, context)) return;
#endif
  conv2d_s8_bwd_weight_portable(shape, e_y, x, x_zero_point, scratch, sink, context);
}

}  // namespace tbft
