// How much scratch a convolution gets, and what the terms stand for. One formula for all CPUs: the
// same artifact runs everywhere (table in docs/artifact.md, exporter/ops.py computes the same).
#pragma once

#include <cstdint>

#include "kernels/conv_shape.h"

namespace tbft {

// Width of the padded input that the output's windows cover, in pixels.
constexpr uint64_t padded_width(const Conv2dShape& s) {
  return (static_cast<uint64_t>(s.out_w) - 1) * static_cast<uint64_t>(s.stride_w) +
         static_cast<uint64_t>(s.kernel_w);
}
constexpr uint64_t padded_height(const Conv2dShape& s) {
  return (static_cast<uint64_t>(s.out_h) - 1) * static_cast<uint64_t>(s.stride_h) +
         static_cast<uint64_t>(s.kernel_h);
}

// Errors along one axis that the input positions 0 .. in - 1 meet, zeros around the real ones
// included: position i meets error o = (i + pad - tap) / stride where that is whole. The first is
// number -bwd_input_lead(), so as many zeros stand in front of error 0. For stride 1 these are
// in + kernel - 1 errors.
constexpr uint64_t bwd_input_lead(int32_t kernel, int32_t stride, int32_t pad) {
  return static_cast<uint64_t>((kernel - 1 - pad) / stride);
}
constexpr uint64_t bwd_input_extent(int32_t in, int32_t kernel, int32_t stride, int32_t pad) {
  return static_cast<uint64_t>((in - 1 + pad) / stride) + bwd_input_lead(kernel, stride, pad) + 1;
}

// Whether Winograd's F(4, 3) along the width applies, which needs more than the direct forms (the
// second line of each in the table).
constexpr bool suits_winograd(const Conv2dShape& s) {
  return s.kernel_h == 3 && s.kernel_w == 3 && s.stride_h == 1 && s.stride_w == 1;
}

// The two layouts that an input gradient may choose from, in bytes, without the 64 of slack.
// A: a ring of kernel_h + 1 padded int16 error rows, and the scaled weights of all input channels.
// B: all error rows, padded, and the scaled weights of four input channels.
// An error row has bwd_input_extent() * out_c elements, the scaled weights of an input channel
// kernel_h * kernel_w * out_c; each starts at a multiple of 16 bytes.
struct BwdInputScratch {
  uint64_t error_rows;  // of B, padding included
  uint64_t error_row_bytes;
  uint64_t weight_row_bytes;
  uint64_t a_bytes;
  uint64_t b_bytes;
  // Whether the scratch was made for A. B needs no less then, but it need not fit.
  bool is_a() const { return a_bytes <= b_bytes; }
};
BwdInputScratch conv2d_s8_bwd_input_scratch(const Conv2dShape& shape);

}  // namespace tbft
