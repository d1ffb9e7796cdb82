// TEMPORARY, until kernels/error_view.h exists: plain loops for wide errors.
#pragma once

#if __has_include("kernels/error_view.h")
#include "kernels/error_view.h"
#else
#include "kernels/conv2d.h"
#include "kernels/depthwise.h"
#include "kernels/elementwise.h"
#include "kernels/fixed_point.h"
#include "kernels/pool.h"

namespace tbft {

struct ErrorView {
  const int8_t* s8;
  const int16_t* s16;
  int32_t shift;
  int32_t bits;
};

namespace compat {
inline int32_t at(const ErrorView& e, int64_t i) {
  if (e.s8 != nullptr) return e.s8[i];
  const int32_t limit = (1 << e.bits) - 1;
  return clamp(rshift_round(e.s16[i], e.shift), -limit, limit);
}
inline int32_t raw(const ErrorView& e, int64_t i) { return e.s8 != nullptr ? e.s8[i] : e.s16[i]; }
inline int32_t shift_for(uint32_t largest, int32_t bits) {
  return bitlen(largest) > bits ? bitlen(largest) - bits : 0;
}
inline int16_t wide(int32_t acc, int32_t n) {
  return static_cast<int16_t>(clamp(rshift_round(acc, n), -32767, 32767));
}
// f(iy, ix, i) -> acc
template <typename F>
uint32_t input_gradient(const Conv2dShape& s, int32_t shift, int8_t* out, F f) {
  uint32_t largest = 0;
  for (int32_t iy = 0; iy < s.in_h; ++iy) {
    for (int32_t ix = 0; ix < s.in_w; ++ix) {
      for (int32_t i = 0; i < s.in_c; ++i) {
        int32_t acc = 0;
        for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
          const int32_t y = iy + s.pad_top - ky;
          if (y < 0 || y % s.stride_h != 0 || y / s.stride_h >= s.out_h) continue;
          for (int32_t kx = 0; kx < s.kernel_w; ++kx) {
            const int32_t x = ix + s.pad_left - kx;
            if (x < 0 || x % s.stride_w != 0 || x / s.stride_w >= s.out_w) continue;
            acc += f((y / s.stride_h) * s.out_w + x / s.stride_w, ky, kx, i);
          }
        }
        if (magnitude(acc) > largest) largest = magnitude(acc);
        out[(iy * s.in_w + ix) * s.in_c + i] = to_error(acc, shift);
      }
    }
  }
  return largest;
}
template <typename F>
void weight_gradient(const Conv2dShape& s, const int8_t* x, int32_t z, int32_t i, int32_t* g,
                     int32_t stride, F e) {
  for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
    for (int32_t kx = 0; kx < s.kernel_w; ++kx) {
      int32_t acc = 0;
      for (int32_t oy = 0; oy < s.out_h; ++oy) {
        const int32_t iy = oy * s.stride_h + ky - s.pad_top;
        if (iy < 0 || iy >= s.in_h) continue;
        for (int32_t ox = 0; ox < s.out_w; ++ox) {
          const int32_t ix = ox * s.stride_w + kx - s.pad_left;
          if (ix < 0 || ix >= s.in_w) continue;
          acc += e(oy * s.out_w + ox) * (x[(iy * s.in_w + ix) * s.in_c + i] - z);
        }
      }
      g[(ky * s.kernel_w + kx) * stride] = acc;
    }
  }
}
}  // namespace compat

inline uint32_t error_magnitude_s16(const int16_t* e, uint32_t n) {
  uint32_t m = 0;
  for (uint32_t i = 0; i < n; ++i) m = magnitude(e[i]) > m ? magnitude(e[i]) : m;
  return m;
}
inline uint32_t conv2d_s8_bwd_input(const Conv2dShape& s, const ErrorView& e, const int8_t* w,
                                    const int16_t* q, int32_t n, void* t, int8_t* o) {
  if (e.s8 != nullptr) return conv2d_s8_bwd_input(s, e.s8, w, q, n, t, o);
  return compat::input_gradient(s, n, o, [&](int32_t pixel, int32_t ky, int32_t kx, int32_t i) {
    int32_t acc = 0;
    for (int32_t c = 0; c < s.out_c; ++c) {
      const int32_t ww = w[((c * s.kernel_h + ky) * s.kernel_w + kx) * s.in_c + i];
      acc += compat::at(e, pixel * s.out_c + c) * ((ww * q[c] + 1024) >> 11);
    }
    return acc;
  });
}
inline uint32_t depthwise_s8_bwd_input(const Conv2dShape& s, const ErrorView& e, const int8_t* w,
                                       const int16_t* q, int32_t n, void* t, int8_t* o) {
  if (e.s8 != nullptr) return depthwise_s8_bwd_input(s, e.s8, w, q, n, t, o);
  return compat::input_gradient(s, n, o, [&](int32_t pixel, int32_t ky, int32_t kx, int32_t i) {
    const int32_t ww = w[(ky * s.kernel_w + kx) * s.in_c + i];
    return compat::at(e, pixel * s.out_c + i) * ((ww * q[i] + 1024) >> 11);
  });
}
inline void bias_s8_bwd(const ErrorView& e, int32_t pixels, int32_t channels, int32_t* bias) {
  for (int32_t c = 0; c < channels; ++c) {
    bias[c] = 0;
    for (int32_t p = 0; p < pixels; ++p) bias[c] += compat::at(e, p * channels + c);
  }
}
inline void conv2d_s8_bwd_weight(const Conv2dShape& s, const ErrorView& e, const int8_t* x,
                                 int32_t z, void* t, GradientSink sink, void* context) {
  if (e.s8 != nullptr) return conv2d_s8_bwd_weight(s, e.s8, x, z, t, sink, context);
  int32_t* g = static_cast<int32_t*>(t);
  for (int32_t o = 0; o < s.out_c; ++o) {
    const auto read = [&](int32_t pixel) { return compat::at(e, pixel * s.out_c + o); };
    for (int32_t i = 0; i < s.in_c; ++i) compat::weight_gradient(s, x, z, i, g + i, s.in_c, read);
    GradientRows rows = {o, 1, {g, g, g, g}, {0, 0, 0, 0}};
    for (int32_t p = 0; p < s.out_h * s.out_w; ++p) rows.bias[0] += read(p);
    sink(context, rows);
  }
}
inline void depthwise_s8_bwd_weight(const Conv2dShape& s, const ErrorView& e, const int8_t* x,
                                    int32_t z, int32_t* g, int32_t* bias) {
  if (e.s8 != nullptr) return depthwise_s8_bwd_weight(s, e.s8, x, z, g, bias);
  for (int32_t c = 0; c < s.out_c; ++c) {
    compat::weight_gradient(s, x, z, c, g + c * s.kernel_h * s.kernel_w, 1,
                            [&](int32_t pixel) { return compat::at(e, pixel * s.out_c + c); });
  }
  bias_s8_bwd(e, s.out_h * s.out_w, s.out_c, bias);
}
inline void mask_bwd(const int16_t* e, const uint8_t* mask, uint32_t n, int16_t* out) {
  for (uint32_t i = 0; i < n; ++i) {
    out[i] = ((mask[i >> 3] >> (i & 7)) & 1) != 0 ? e[i] : int16_t{0};
  }
}
inline void relu_bwd(const int16_t* e, const int8_t* y, uint32_t n, int32_t low, int32_t high,
                     bool relu6, int16_t* out) {
  for (uint32_t i = 0; i < n; ++i) {
    out[i] = y[i] > low && (!relu6 || y[i] < high) ? e[i] : int16_t{0};
  }
}
inline void channel_pad_bwd(const int16_t* ey, int32_t pixels, int32_t in, int32_t before,
                            int32_t outc, int16_t* ex) {
  for (int32_t p = 0; p < pixels; ++p) {
    for (int32_t c = 0; c < in; ++c) ex[p * in + c] = ey[p * outc + before + c];
  }
}
namespace compat {
template <typename F>
int32_t pool(const PoolShape& s, int32_t factor, int16_t* ex, F contribution) {
  uint32_t largest = 0;
  int32_t shift = 0;
  for (int32_t pass = 0; pass < 2; ++pass) {
    for (int32_t iy = 0; iy < s.in_h; ++iy) {
      for (int32_t ix = 0; ix < s.in_w; ++ix) {
        for (int32_t c = 0; c < s.channels; ++c) {
          int32_t acc = 0;
          for (int32_t oy = 0; oy < s.out_h; ++oy) {
            const int32_t ky = iy - oy * s.stride_h;
            if (ky < 0 || ky >= s.kernel_h) continue;
            for (int32_t ox = 0; ox < s.out_w; ++ox) {
              const int32_t kx = ix - ox * s.stride_w;
              if (kx >= 0 && kx < s.kernel_w) acc += contribution(oy, ox, iy, ix, c);
            }
          }
          acc *= factor;
          if (pass == 0 && magnitude(acc) > largest) largest = magnitude(acc);
          if (pass == 1) ex[(iy * s.in_w + ix) * s.channels + c] = wide(acc, shift);
        }
      }
    }
    shift = shift_for(largest, 15);
  }
  return shift;
}
}  // namespace compat
inline int32_t average_pool_bwd(const PoolShape& s, const int16_t* ey, int16_t* ex) {
  const int32_t n = s.kernel_h * s.kernel_w;
  const bool power = (n & (n - 1)) == 0;
  return compat::pool(s, power ? 1 : (2 * 32768 + n) / (2 * n), ex,
                      [&](int32_t oy, int32_t ox, int32_t, int32_t, int32_t c) -> int32_t {
                        return ey[(oy * s.out_w + ox) * s.channels + c];
                      }) -
         (power ? bitlen(static_cast<uint64_t>(n)) - 1 : 15);
}
inline int32_t max_pool_bwd(const PoolShape& s, const int16_t* ey, const int8_t* x, int16_t* ex) {
  return compat::pool(
      s, 1, ex, [&](int32_t oy, int32_t ox, int32_t iy, int32_t ix, int32_t c) -> int32_t {
        const int32_t own = x[(iy * s.in_w + ix) * s.channels + c];
        for (int32_t ky = oy * s.stride_h; ky < oy * s.stride_h + s.kernel_h; ++ky) {
          for (int32_t kx = ox * s.stride_w; kx < ox * s.stride_w + s.kernel_w; ++kx) {
            const int32_t other = x[(ky * s.in_w + kx) * s.channels + c];
            if (other > own || (other == own && (ky < iy || (ky == iy && kx < ix)))) return 0;
          }
        }
        return ey[(oy * s.out_w + ox) * s.channels + c];
      });
}
namespace compat {
template <typename A, typename B>
int32_t sum(A a, int32_t ea, B b, int32_t eb, uint32_t n, int16_t* out) {
  int32_t low = ea < eb ? ea : eb;
  int32_t da = ea - low;
  int32_t db = eb - low;
  const bool drop_a = eb - ea > 15;
  const bool drop_b = ea - eb > 15;
  if (drop_a || drop_b) {
    low += da + db;
    da = db = 0;
  }
  const auto acc = [&](uint32_t i) {
    return (drop_a ? 0 : a(i) * (1 << da)) + (drop_b ? 0 : b(i) * (1 << db));
  };
  uint32_t largest = 0;
  for (uint32_t i = 0; i < n; ++i)
    largest = magnitude(acc(i)) > largest ? magnitude(acc(i)) : largest;
  const int32_t shift = shift_for(largest, 15);
  for (uint32_t i = 0; i < n; ++i) out[i] = wide(acc(i), shift);
  return low + shift;
}
}  // namespace compat
inline int32_t error_add(const ErrorView& a, int32_t ea, const ErrorView& b, int32_t eb, uint32_t n,
                         int16_t* out) {
  return compat::sum([&](uint32_t i) { return compat::raw(a, i); }, ea,
                     [&](uint32_t i) { return compat::raw(b, i); }, eb, n, out);
}
inline int32_t affine_bwd(int32_t pixels, int32_t channels, const ErrorView& e, int32_t exponent,
                          const int8_t* w, const int16_t* q, int32_t t, const ErrorView& add,
                          int32_t add_exponent, int16_t* out) {
  const uint32_t n = static_cast<uint32_t>(pixels * channels);
  const auto acc = [&](uint32_t i) {
    const int32_t c = static_cast<int32_t>(i % static_cast<uint32_t>(channels));
    return compat::at(e, i) * ((w[c] * q[c] + 1024) >> 11);
  };
  uint32_t largest = 0;
  for (uint32_t i = 0; i < n; ++i)
    largest = magnitude(acc(i)) > largest ? magnitude(acc(i)) : largest;
  const int32_t shift = compat::shift_for(largest, 15);
  const int32_t own = exponent + t + shift;
  const auto value = [&](uint32_t i) -> int32_t { return compat::wide(acc(i), shift); };
  if (add.s8 == nullptr && add.s16 == nullptr) {
    for (uint32_t i = 0; i < n; ++i) out[i] = static_cast<int16_t>(value(i));
    return own;
  }
  return compat::sum(
      value, own, [&](uint32_t i) { return compat::raw(add, i); }, add_exponent, n, out);
}

}  // namespace tbft
#endif
