// From an op's record to the shapes its kernel takes. The executor and the loader's checks share
// these.
#pragma once

#include <cstdint>

#include "kernels/conv_shape.h"
#include "runtime/artifact.h"

namespace tbft {

// `x` and `y` are the input and output of the forward convolution, whichever way the op goes.
inline Conv2dShape conv_shape(const Op& op, const Tensor& x, const Tensor& y) {
  Conv2dShape s;
  s.in_h = static_cast<int32_t>(x.shape[1]);
  s.in_w = static_cast<int32_t>(x.shape[2]);
  s.in_c = static_cast<int32_t>(x.shape[3]);
  s.out_h = static_cast<int32_t>(y.shape[1]);
  s.out_w = static_cast<int32_t>(y.shape[2]);
  s.out_c = static_cast<int32_t>(y.shape[3]);
  s.kernel_h = static_cast<int32_t>(op.kernel_h);
  s.kernel_w = static_cast<int32_t>(op.kernel_w);
  s.stride_h = static_cast<int32_t>(op.stride_h);
  s.stride_w = static_cast<int32_t>(op.stride_w);
  s.pad_top = static_cast<int32_t>(op.pad_top);
  s.pad_left = static_cast<int32_t>(op.pad_left);
  return s;
}

inline PoolShape pool_shape(const Op& op, const Tensor& x, const Tensor& y) {
  PoolShape s;
  s.in_h = static_cast<int32_t>(x.shape[1]);
  s.in_w = static_cast<int32_t>(x.shape[2]);
  s.channels = static_cast<int32_t>(x.shape[3]);
  s.out_h = static_cast<int32_t>(y.shape[1]);
  s.out_w = static_cast<int32_t>(y.shape[2]);
  s.kernel_h = static_cast<int32_t>(op.kernel_h);
  s.kernel_w = static_cast<int32_t>(op.kernel_w);
  s.stride_h = static_cast<int32_t>(op.stride_h);
  s.stride_w = static_cast<int32_t>(op.stride_w);
  return s;
}

inline uint64_t convolution_macs(const Conv2dShape& s, bool depthwise) {
  const auto u = [](int32_t n) { return static_cast<uint64_t>(n); };
  return u(s.out_h) * u(s.out_w) * u(s.out_c) * u(s.kernel_h) * u(s.kernel_w) *
         (depthwise ? 1 : u(s.in_c));
}

}  // namespace tbft
