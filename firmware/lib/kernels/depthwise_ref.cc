// The plain loop nests that define the depthwise kernels.
#include "kernels/depthwise.h"
#include "kernels/fixed_point.h"
#include "kernels/requantize.h"
#include "kernels/scaled_weight.h"

namespace tbft {

void depthwise_s8_fwd_ref(const Conv2dShape& s, const int8_t* x, const int8_t* w,
                          const int32_t* bias, const Requantization& rq, int8_t* y) {
  for (int32_t oy = 0; oy < s.out_h; ++oy) {
    for (int32_t ox = 0; ox < s.out_w; ++ox) {
      for (int32_t c = 0; c < s.in_c; ++c) {
        int32_t acc = 0;
        for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
          const int32_t iy = oy * s.stride_h + ky - s.pad_top;
          if (iy < 0 || iy >= s.in_h) continue;
          for (int32_t kx = 0; kx < s.kernel_w; ++kx) {
            const int32_t ix = ox * s.stride_w + kx - s.pad_left;
            if (ix < 0 || ix >= s.in_w) continue;
            acc += (x[(iy * s.in_w + ix) * s.in_c + c] - rq.in_zero_point) *
                   w[(ky * s.kernel_w + kx) * s.in_c + c];
          }
        }
        if (bias != nullptr) acc = wrapping_add(acc, bias[c]);
        y[(oy * s.out_w + ox) * s.in_c + c] = requantize(acc, rq, c);
      }
    }
  }
}

uint32_t depthwise_s8_bwd_input_ref(const Conv2dShape& s, const ErrorView& e_y, const int8_t* w,
                                    const int16_t* q, int32_t shift, int8_t* e_x) {
  uint32_t largest = 0;
  for (int32_t iy = 0; iy < s.in_h; ++iy) {
    for (int32_t ix = 0; ix < s.in_w; ++ix) {
      for (int32_t c = 0; c < s.in_c; ++c) {
        int32_t acc = 0;
        for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
          const int32_t y = iy + s.pad_top - ky;
          if (y < 0 || y % s.stride_h != 0 || y / s.stride_h >= s.out_h) continue;
          for (int32_t kx = 0; kx < s.kernel_w; ++kx) {
            const int32_t x = ix + s.pad_left - kx;
            if (x < 0 || x % s.stride_w != 0 || x / s.stride_w >= s.out_w) continue;
            const int32_t e = (y / s.stride_h * s.out_w + x / s.stride_w) * s.in_c + c;
            acc +=
                error_value(e_y, e) * scaled_weight(w[(ky * s.kernel_w + kx) * s.in_c + c], q[c]);
          }
        }
        if (magnitude(acc) > largest) largest = magnitude(acc);
        e_x[(iy * s.in_w + ix) * s.in_c + c] = to_error(acc, shift);
      }
    }
  }
  return largest;
}

void depthwise_s8_bwd_weight_ref(const Conv2dShape& s, const ErrorView& e_y, const int8_t* x,
                                 int32_t x_zero_point, int32_t* g, int32_t* bias) {
  const int32_t taps = s.kernel_h * s.kernel_w;
  for (int32_t c = 0; c < s.in_c; ++c) {
    bias[c] = 0;
    for (int32_t p = 0; p < s.out_h * s.out_w; ++p) bias[c] += error_value(e_y, p * s.in_c + c);
    for (int32_t tap = 0; tap < taps; ++tap) {
      int32_t acc = 0;
      for (int32_t oy = 0; oy < s.out_h; ++oy) {
        const int32_t iy = oy * s.stride_h + tap / s.kernel_w - s.pad_top;
        if (iy < 0 || iy >= s.in_h) continue;
        for (int32_t ox = 0; ox < s.out_w; ++ox) {
          const int32_t ix = ox * s.stride_w + tap % s.kernel_w - s.pad_left;
          if (ix < 0 || ix >= s.in_w) continue;
          acc += error_value(e_y, (oy * s.out_w + ox) * s.in_c + c) *
                 (x[(iy * s.in_w + ix) * s.in_c + c] - x_zero_point);
        }
      }
      g[c * taps + tap] = acc;
    }
  }
}

}  // namespace tbft
