// The plain loop nests that define the convolution kernels.
#include "kernels/conv2d.h"
#include "kernels/fixed_point.h"
#include "kernels/requantize.h"
#include "kernels/scaled_weight.h"

namespace tbft {

void conv2d_s8_fwd_ref(const Conv2dShape& s, const int8_t* x, const int8_t* w, const int32_t* bias,
                       const Requantization& rq, int8_t* y) {
  for (int32_t oy = 0; oy < s.out_h; ++oy) {
    for (int32_t ox = 0; ox < s.out_w; ++ox) {
      for (int32_t o = 0; o < s.out_c; ++o) {
        int32_t acc = 0;
        for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
          const int32_t iy = oy * s.stride_h + ky - s.pad_top;
          if (iy < 0 || iy >= s.in_h) continue;
          for (int32_t kx = 0; kx < s.kernel_w; ++kx) {
            const int32_t ix = ox * s.stride_w + kx - s.pad_left;
            if (ix < 0 || ix >= s.in_w) continue;
            const int8_t* px = x + (iy * s.in_w + ix) * s.in_c;
            const int8_t* pw = w + ((o * s.kernel_h + ky) * s.kernel_w + kx) * s.in_c;
            for (int32_t i = 0; i < s.in_c; ++i) acc += (px[i] - rq.in_zero_point) * pw[i];
          }
        }
        if (bias != nullptr) acc = wrapping_add(acc, bias[o]);
        y[(oy * s.out_w + ox) * s.out_c + o] = requantize(acc, rq, o);
      }
    }
  }
}

uint32_t conv2d_s8_bwd_input_ref(const Conv2dShape& s, const ErrorView& e_y, const int8_t* w,
                                 const int16_t* q, int32_t shift, int8_t* e_x) {
  uint32_t largest = 0;
  for (int32_t iy = 0; iy < s.in_h; ++iy) {
    for (int32_t ix = 0; ix < s.in_w; ++ix) {
      for (int32_t i = 0; i < s.in_c; ++i) {
        int32_t acc = 0;
        for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
          const int32_t y = iy + s.pad_top - ky;  // oy * stride_h
          if (y < 0 || y % s.stride_h != 0 || y / s.stride_h >= s.out_h) continue;
          for (int32_t kx = 0; kx < s.kernel_w; ++kx) {
            const int32_t x = ix + s.pad_left - kx;  // ox * stride_w
            if (x < 0 || x % s.stride_w != 0 || x / s.stride_w >= s.out_w) continue;
            const int32_t e = (y / s.stride_h * s.out_w + x / s.stride_w) * s.out_c;
            for (int32_t o = 0; o < s.out_c; ++o) {
              const int32_t wo = w[((o * s.kernel_h + ky) * s.kernel_w + kx) * s.in_c + i];
              acc += error_value(e_y, e + o) * scaled_weight(wo, q[o]);
            }
          }
        }
        if (magnitude(acc) > largest) largest = magnitude(acc);
        e_x[(iy * s.in_w + ix) * s.in_c + i] = to_error(acc, shift);
      }
    }
  }
  return largest;
}

void conv2d_s8_bwd_weight_row_ref(const Conv2dShape& s, const ErrorView& e_y, const int8_t* x,
                                  int32_t x_zero_point, int32_t row, int32_t* g, int32_t* bias) {
  const int32_t row_length = s.kernel_h * s.kernel_w * s.in_c;
  for (int32_t k = 0; k < row_length; ++k) g[k] = 0;
  *bias = 0;
  for (int32_t oy = 0; oy < s.out_h; ++oy) {
    for (int32_t ox = 0; ox < s.out_w; ++ox) {
      const int32_t e = error_value(e_y, (oy * s.out_w + ox) * s.out_c + row);
      *bias += e;
      for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
        const int32_t iy = oy * s.stride_h + ky - s.pad_top;
        if (iy < 0 || iy >= s.in_h) continue;
        for (int32_t kx = 0; kx < s.kernel_w; ++kx) {
          const int32_t ix = ox * s.stride_w + kx - s.pad_left;
          if (ix < 0 || ix >= s.in_w) continue;
          const int8_t* px = x + (iy * s.in_w + ix) * s.in_c;
          int32_t* pg = g + (ky * s.kernel_w + kx) * s.in_c;
          for (int32_t i = 0; i < s.in_c; ++i) pg[i] += e * (px[i] - x_zero_point);
        }
      }
    }
  }
}

}  // namespace tbft
