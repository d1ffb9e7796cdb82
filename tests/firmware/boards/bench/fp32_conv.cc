#include "fp32_conv.h"

namespace tbft::bench {
namespace {

bool outside(int32_t position, int32_t size) { return position < 0 || position >= size; }

}  // namespace

void conv2d_f32_fwd(const Conv2dShape& s, const float* x, const float* w, const float* bias,
                    float* y) {
  for (int32_t oy = 0; oy < s.out_h; ++oy) {
    for (int32_t ox = 0; ox < s.out_w; ++ox) {
      const float* tap = w;
      for (int32_t o = 0; o < s.out_c; ++o) {
        float sum = bias[o];
        for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
          const int32_t iy = oy * s.stride_h + ky - s.pad_top;
          for (int32_t kx = 0; kx < s.kernel_w; ++kx, tap += s.in_c) {
            const int32_t ix = ox * s.stride_w + kx - s.pad_left;
            if (outside(iy, s.in_h) || outside(ix, s.in_w)) continue;
            const float* const pixel = x + (iy * s.in_w + ix) * s.in_c;
            for (int32_t i = 0; i < s.in_c; ++i) sum += pixel[i] * tap[i];
          }
        }
        *y++ = sum;
      }
    }
  }
}

void conv2d_f32_bwd_input(const Conv2dShape& s, const float* e_y, const float* w, float* e_x) {
  for (int32_t i = 0; i < s.in_h * s.in_w * s.in_c; ++i) e_x[i] = 0;
  for (int32_t oy = 0; oy < s.out_h; ++oy) {
    for (int32_t ox = 0; ox < s.out_w; ++ox) {
      const float* tap = w;
      for (int32_t o = 0; o < s.out_c; ++o) {
        const float e = *e_y++;
        for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
          const int32_t iy = oy * s.stride_h + ky - s.pad_top;
          for (int32_t kx = 0; kx < s.kernel_w; ++kx, tap += s.in_c) {
            const int32_t ix = ox * s.stride_w + kx - s.pad_left;
            if (outside(iy, s.in_h) || outside(ix, s.in_w)) continue;
            float* const pixel = e_x + (iy * s.in_w + ix) * s.in_c;
            for (int32_t i = 0; i < s.in_c; ++i) pixel[i] += e * tap[i];
          }
        }
      }
    }
  }
}

void conv2d_f32_bwd_weight(const Conv2dShape& s, const float* e_y, const float* x, float* g,
                           float* g_bias) {
  for (int32_t k = 0; k < s.out_c * s.kernel_h * s.kernel_w * s.in_c; ++k) g[k] = 0;
  for (int32_t o = 0; o < s.out_c; ++o) g_bias[o] = 0;
  for (int32_t oy = 0; oy < s.out_h; ++oy) {
    for (int32_t ox = 0; ox < s.out_w; ++ox) {
      float* tap = g;
      for (int32_t o = 0; o < s.out_c; ++o) {
        const float e = *e_y++;
        g_bias[o] += e;
        for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
          const int32_t iy = oy * s.stride_h + ky - s.pad_top;
          for (int32_t kx = 0; kx < s.kernel_w; ++kx, tap += s.in_c) {
            const int32_t ix = ox * s.stride_w + kx - s.pad_left;
            if (outside(iy, s.in_h) || outside(ix, s.in_w)) continue;
            const float* const pixel = x + (iy * s.in_w + ix) * s.in_c;
            for (int32_t i = 0; i < s.in_c; ++i) tap[i] += e * pixel[i];
          }
        }
      }
    }
  }
}

}  // namespace tbft::bench
