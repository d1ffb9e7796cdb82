#include "kernels/depthwise.h"

#include "kernels/dispatch.h"

namespace tbft {
namespace {

uint64_t weight_count(const Conv2dShape& s) {
  return static_cast<uint64_t>(s.kernel_h) * static_cast<uint64_t>(s.kernel_w) *
         static_cast<uint64_t>(s.in_c);
}

}  // namespace

uint64_t depthwise_s8_scratch_bytes(const Conv2dShape& s) {
  return round_up_16(2 * weight_count(s));
}

uint64_t depthwise_s8_bwd_weight_scratch_bytes(const Conv2dShape& s) {
  return round_up_16(4 * (weight_count(s) + static_cast<uint64_t>(s.in_c)));
}

void depthwise_s8_fwd(const Conv2dShape& s, const int8_t* x, const int8_t* w, const int32_t* bias,
                      const Requantization& rq, void*, int8_t* y) {
#if TBFT_KERNELS_X86
  if (depthwise_s8_fwd_x86(s, x, w, bias, rq, y)) return;
#endif
  depthwise_s8_fwd_ref(s, x, w, bias, rq, y);
}

uint32_t depthwise_s8_bwd_input(const Conv2dShape& s, const ErrorView& e_y, const int8_t* w,
                                const int16_t* q, int32_t shift, void*, int8_t* e_x) {
#if TBFT_KERNELS_X86
  uint32_t largest = 0;
  if (depthwise_s8_bwd_input_x86(s, e_y, w, q, shift, e_x, &largest)) return largest;
#endif
  return depthwise_s8_bwd_input_ref(s, e_y, w, q, shift, e_x);
}

void depthwise_s8_bwd_weight(const Conv2dShape& s, const ErrorView& e_y, const int8_t* x,
                             int32_t x_zero_point, int32_t* g, int32_t* bias) {
  depthwise_s8_bwd_weight_ref(s, e_y, x, x_zero_point, g, bias);
}

void bias_s8_bwd(const ErrorView& e_y, int32_t pixels, int32_t channels, int32_t* bias) {
  constexpr int32_t kBlock = 16;  // a fixed count keeps the sums in registers
  for (int32_t c = 0; c < channels; c += kBlock) {
    const int32_t count = channels - c < kBlock ? channels - c : kBlock;
    int32_t sums[kBlock] = {};
    for (int32_t p = 0; p < pixels; ++p) {
      const int32_t first = p * channels + c;
      if (e_y.s8 != nullptr && count == kBlock) {
        for (int32_t i = 0; i < kBlock; ++i) sums[i] += e_y.s8[first + i];
      } else if (count == kBlock) {
        for (int32_t i = 0; i < kBlock; ++i) sums[i] += error_value(e_y, first + i);
      } else {
        for (int32_t i = 0; i < count; ++i) sums[i] += error_value(e_y, first + i);
      }
    }
    for (int32_t i = 0; i < count; ++i) bias[c + i] = sums[i];
  }
}

}  // namespace tbft
