#include "kernels/depthwise.h"

#include "kernels/dispatch.h"
#include "kernels/requantize.h"

namespace tbft {
namespace {

uint64_t weight_count(const Conv2dShape& s) {
  return static_cast<uint64_t>(s.kernel_h) * static_cast<uint64_t>(s.kernel_w) *
         static_cast<uint64_t>(s.in_c);
}

// The affine: a 1x1 kernel of stride 1.
bool is_pointwise(const Conv2dShape& s) {
  return s.kernel_h == 1 && s.kernel_w == 1 && s.stride_h == 1 && s.stride_w == 1 &&
         s.pad_top == 0 && s.pad_left == 0 && s.out_h <= s.in_h && s.out_w == s.in_w;
}

// One channel of an affine; y may be x.
void pointwise_channel(const int8_t* x, int32_t w, int32_t bias, const Requantization& rq,
                       int32_t channel, int32_t pixels, int32_t channels, int8_t* y) {
#if TBFT_KERNELS_LX7
  return affine_channel_lx7(x, w, bias, rq, channel, pixels, channels, y);
#endif
  constexpr int32_t kLargestProduct = 255 * 128;
  const int32_t shift = rq.shift[channel];
  const int32_t zero_point = rq.in_zero_point;
  if (!FastScale::takes(shift) ||
      magnitude(bias) > FastScale::kLargestInput / 4 - kLargestProduct) {
    for (int32_t p = 0; p < pixels; ++p) {
      const int32_t acc = (x[p * channels] - zero_point) * w;
      y[p * channels] = requantize(wrapping_add(acc, bias), rq, channel);
    }
    return;
  }
  const FastScale scale(rq.multiplier[channel], shift, rq.out_zero_point);
  const int32_t factor = 4 * w;
  const int32_t start = 4 * (bias - zero_point * w);
  const int32_t low = rq.act_min;
  const int32_t high = rq.act_max;
  for (int32_t p = 0; p < pixels; ++p, x += channels, y += channels) {
    *y = static_cast<int8_t>(clamp(scale(*x * factor + start), low, high));
  }
}

// Channel after channel, so that a channel's numbers stay in registers. Where y lies a little below
// x that order would spoil x: then few pixels at a time, from a copy.
void pointwise_fwd(const Conv2dShape& s, const int8_t* x, const int8_t* w, const int32_t* bias,
                   const Requantization& rq, int8_t* y) {
  constexpr int32_t kCopied = 256;
  const int32_t pixels = s.out_h * s.out_w;
  const int32_t channels = s.in_c;
  const bool apart = y == x || y + pixels * channels <= x || x + pixels * channels <= y;
  const int32_t fit = channels < kCopied ? kCopied / channels : 1;
  const int32_t block = apart ? pixels : fit;
  int8_t copy[kCopied];
  for (int32_t p = 0; p < pixels; p += block) {
    const int32_t count = pixels - p < block ? pixels - p : block;
    const int8_t* from = x + p * channels;
    if (!apart && count > 1) {
      for (int32_t i = 0; i < count * channels; ++i) copy[i] = from[i];
      from = copy;
    }
    for (int32_t c = 0; c < channels; ++c) {
      pointwise_channel(from + c, w[c], bias == nullptr ? 0 : bias[c], rq, c, count, channels,
                        y + p * channels + c);
    }
  }
}

}  // namespace

uint64_t depthwise_s8_bwd_weight_scratch_bytes(const Conv2dShape& s) {
  return round_up_16(4 * (weight_count(s) + static_cast<uint64_t>(s.in_c)));
}

void depthwise_s8_fwd(const Conv2dShape& s, const int8_t* x, const int8_t* w, const int32_t* bias,
                      const Requantization& rq, int8_t* y) {
#if TBFT_KERNELS_X86
  if (depthwise_s8_fwd_x86(s, x, w, bias, rq, y)) return;
#endif
  if (is_pointwise(s)) return pointwise_fwd(s, x, w, bias, rq, y);
  depthwise_s8_fwd_ref(s, x, w, bias, rq, y);
}

uint32_t depthwise_s8_bwd_input(const Conv2dShape& s, const ErrorView& e_y, const int8_t* w,
                                const int16_t* q, int32_t shift, int8_t* e_x) {
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
