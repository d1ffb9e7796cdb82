// Geometry and quantization parameters shared by the kernels.
#pragma once

#include <cstdint>

namespace tbft {

// One sample, HWC activations, OHWI weights (depthwise [ky,kx,c] with out_c == in_c).
// Bottom and right padding follow from out_h and out_w: positions outside the input count as 0.
struct Conv2dShape {
  int32_t in_h, in_w, in_c;
  int32_t out_h, out_w, out_c;
  int32_t kernel_h, kernel_w;
  int32_t stride_h, stride_w;
  int32_t pad_top, pad_left;
};

// Windows lie wholly inside the input: (out - 1) * stride + kernel <= in.
struct PoolShape {
  int32_t in_h, in_w, channels;
  int32_t out_h, out_w;
  int32_t kernel_h, kernel_w;
  int32_t stride_h, stride_w;
};

// y = clamp(MBQM(acc, multiplier[o], shift[o]) + out_zero_point, act_min, act_max).
// multiplier in [2^30, 2^31) or 0, shift in [-31, 30], zero points and act limits in [-128, 127].
struct Requantization {
  const int32_t* multiplier;  // one per output channel
  const int32_t* shift;       // one per output channel
  int32_t in_zero_point;
  int32_t out_zero_point;
  int32_t act_min;
  int32_t act_max;
};

constexpr uint64_t round_up_16(uint64_t n) { return (n + 15) & ~uint64_t{15}; }

}  // namespace tbft
