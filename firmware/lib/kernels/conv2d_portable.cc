// Blocked convolution kernels in plain C++: columns of four output pixels as int16 in scratch, then
// dot products that compilers vectorise where the machine can.
#include "kernels/dispatch.h"
#include "kernels/fixed_point.h"
#include "kernels/requantize.h"
#include "kernels/scaled_weight.h"

namespace tbft {
namespace {

constexpr int32_t kPixels = 4;     // columns at a time
constexpr int32_t kInputTile = 8;  // input channels whose scaled weights are held at a time
constexpr int32_t kGradientRows = 4;

// Distance of rows in scratch that hold `length` elements each, so that all start at a multiple of
// 16 bytes; in elements.
template <typename Element>
int32_t row_pitch(int32_t length) {
  constexpr uint64_t kBytes = sizeof(Element);
  return static_cast<int32_t>(round_up_16(static_cast<uint64_t>(length) * kBytes) / kBytes);
}

// Four sums of w . column[j] over length elements, columns pitch elements apart.
template <typename Weight>
void dot4(const Weight* __restrict w, const int16_t* __restrict columns, int32_t pitch,
          int32_t length, int32_t* __restrict sums) {
  const int16_t* __restrict c0 = columns;
  const int16_t* __restrict c1 = columns + pitch;
  const int16_t* __restrict c2 = columns + 2 * pitch;
  const int16_t* __restrict c3 = columns + 3 * pitch;
  int32_t s0 = 0;
  int32_t s1 = 0;
  int32_t s2 = 0;
  int32_t s3 = 0;
  for (int32_t k = 0; k < length; ++k) {
    const int32_t wk = w[k];
    s0 += wk * c0[k];
    s1 += wk * c1[k];
    s2 += wk * c2[k];
    s3 += wk * c3[k];
  }
  sums[0] = s0;
  sums[1] = s1;
  sums[2] = s2;
  sums[3] = s3;
}

void copy_minus(const int8_t* __restrict from, int32_t n, int32_t zero_point,
                int16_t* __restrict to) {
  for (int32_t i = 0; i < n; ++i) to[i] = static_cast<int16_t>(from[i] - zero_point);
}

void copy_errors(const ErrorView& e, int32_t first, int32_t n, int16_t* __restrict to) {
  if (e.s8 != nullptr) {
    copy_minus(e.s8 + first, n, 0, to);
    return;
  }
  for (int32_t i = 0; i < n; ++i) to[i] = static_cast<int16_t>(error_value(e, first + i));
}

void fill_zero(int32_t n, int16_t* to) {
  for (int32_t i = 0; i < n; ++i) to[i] = 0;
}

// One output pixel's window as [ky][kx][i] minus the zero point, 0 outside the input.
void pack_window(const Conv2dShape& s, const int8_t* x, int32_t zero_point, int32_t oy, int32_t ox,
                 int16_t* column) {
  for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
    const int32_t iy = oy * s.stride_h + ky - s.pad_top;
    for (int32_t kx = 0; kx < s.kernel_w; ++kx, column += s.in_c) {
      const int32_t ix = ox * s.stride_w + kx - s.pad_left;
      if (iy < 0 || iy >= s.in_h || ix < 0 || ix >= s.in_w) {
        fill_zero(s.in_c, column);
      } else {
        copy_minus(x + (iy * s.in_w + ix) * s.in_c, s.in_c, zero_point, column);
      }
    }
  }
}

// Input positions that share a remainder of (position + pad) by the stride meet the same kernel
// taps: first, first + stride, ... These are one axis's positions and taps.
struct Phase {
  int32_t first_tap;       // taps first_tap, first_tap + stride, ...
  int32_t taps;            // how many there are, perhaps 0
  int32_t first_position;  // input positions first_position, first_position + stride, ...
};

Phase phase_of(int32_t remainder, int32_t kernel, int32_t stride, int32_t pad) {
  const int32_t taps = remainder < kernel ? (kernel - 1 - remainder) / stride + 1 : 0;
  const int32_t offset = (remainder - pad) % stride;
  return {remainder, taps, offset < 0 ? offset + stride : offset};
}

// Scaled weights of the phase's taps: [input channel of the tile][tap y][tap x][o].
void scale_weights(const Conv2dShape& s, const int8_t* w, const int16_t* q, const Phase& py,
                   const Phase& px, int32_t first_channel, int32_t channels, int16_t* scaled) {
  const int32_t row_length = s.kernel_h * s.kernel_w * s.in_c;
  for (int32_t i = first_channel; i < first_channel + channels; ++i) {
    for (int32_t ty = 0; ty < py.taps; ++ty) {
      for (int32_t tx = 0; tx < px.taps; ++tx) {
        const int32_t ky = py.first_tap + ty * s.stride_h;
        const int32_t kx = px.first_tap + tx * s.stride_w;
        const int8_t* from = w + (ky * s.kernel_w + kx) * s.in_c + i;
        for (int32_t o = 0; o < s.out_c; ++o) {
          *scaled++ = static_cast<int16_t>(scaled_weight(from[o * row_length], q[o]));
        }
      }
    }
  }
}

// Errors that reach input position (iy, ix), in the order of scale_weights. The divisions are exact
// and not negative: iy + pad has the remainder first_tap, which is less than the stride when there
// are taps at all.
void pack_errors(const Conv2dShape& s, const ErrorView& e_y, const Phase& py, const Phase& px,
                 int32_t iy, int32_t ix, int16_t* column) {
  for (int32_t ty = 0; ty < py.taps; ++ty) {
    const int32_t oy = (iy + s.pad_top - py.first_tap) / s.stride_h - ty;
    for (int32_t tx = 0; tx < px.taps; ++tx, column += s.out_c) {
      const int32_t ox = (ix + s.pad_left - px.first_tap) / s.stride_w - tx;
      if (oy < 0 || oy >= s.out_h || ox < 0 || ox >= s.out_w) {
        fill_zero(s.out_c, column);
      } else {
        copy_errors(e_y, (oy * s.out_w + ox) * s.out_c, s.out_c, column);
      }
    }
  }
}

// All input positions of one phase for one tile of input channels; returns the largest magnitude.
uint32_t phase_bwd_input(const Conv2dShape& s, const ErrorView& e_y, const Phase& py,
                         const Phase& px, const int16_t* scaled, int32_t first_channel,
                         int32_t channels, int32_t shift, int16_t* columns, int8_t* e_x) {
  const int32_t length = py.taps * px.taps * s.out_c;
  const int32_t pitch = row_pitch<int16_t>(length);
  uint32_t largest = 0;
  for (int32_t iy = py.first_position; iy < s.in_h; iy += s.stride_h) {
    for (int32_t ix0 = px.first_position; ix0 < s.in_w; ix0 += kPixels * s.stride_w) {
      const int32_t left = (s.in_w - 1 - ix0) / s.stride_w + 1;
      const int32_t pixels = left < kPixels ? left : kPixels;
      for (int32_t j = 0; j < pixels; ++j) {
        pack_errors(s, e_y, py, px, iy, ix0 + j * s.stride_w, columns + j * pitch);
      }
      for (int32_t j = pixels; j < kPixels; ++j) fill_zero(length, columns + j * pitch);
      for (int32_t i = 0; i < channels; ++i) {
        int32_t sums[kPixels];
        dot4(scaled + i * length, columns, pitch, length, sums);
        for (int32_t j = 0; j < pixels; ++j) {
          const int32_t position = iy * s.in_w + ix0 + j * s.stride_w;
          if (magnitude(sums[j]) > largest) largest = magnitude(sums[j]);
          e_x[position * s.in_c + first_channel + i] = to_error(sums[j], shift);
        }
      }
    }
  }
  return largest;
}

// Adds the four rows' products with one kernel tap: g[r][i] += e[r][pixel] * (x[i] - zero point).
void accumulate_tap(const Conv2dShape& s, const int8_t* x, int32_t zero_point, int32_t ky,
                    int32_t kx, const int16_t* e, int32_t e_pitch, int32_t* g, int32_t g_pitch) {
  int32_t* __restrict g0 = g;
  int32_t* __restrict g1 = g + g_pitch;
  int32_t* __restrict g2 = g + 2 * g_pitch;
  int32_t* __restrict g3 = g + 3 * g_pitch;
  for (int32_t oy = 0; oy < s.out_h; ++oy) {
    const int32_t iy = oy * s.stride_h + ky - s.pad_top;
    if (iy < 0 || iy >= s.in_h) continue;
    for (int32_t ox = 0; ox < s.out_w; ++ox) {
      const int32_t ix = ox * s.stride_w + kx - s.pad_left;
      if (ix < 0 || ix >= s.in_w) continue;
      const int16_t* pe = e + oy * s.out_w + ox;
      const int32_t e0 = pe[0];
      const int32_t e1 = pe[e_pitch];
      const int32_t e2 = pe[2 * e_pitch];
      const int32_t e3 = pe[3 * e_pitch];
      if ((e0 | e1 | e2 | e3) == 0) continue;
      const int8_t* __restrict px = x + (iy * s.in_w + ix) * s.in_c;
      for (int32_t i = 0; i < s.in_c; ++i) {
        const int32_t value = px[i] - zero_point;
        g0[i] += e0 * value;
        g1[i] += e1 * value;
        g2[i] += e2 * value;
        g3[i] += e3 * value;
      }
    }
  }
}

}  // namespace

void conv2d_s8_fwd_portable(const Conv2dShape& s, const int8_t* x, const int8_t* w,
                            const int32_t* bias, const Requantization& rq, void* scratch,
                            int8_t* y) {
  const int32_t length = s.kernel_h * s.kernel_w * s.in_c;
  const int32_t pitch = row_pitch<int16_t>(length);
  int16_t* const columns = static_cast<int16_t*>(scratch);
  for (int32_t oy = 0; oy < s.out_h; ++oy) {
    for (int32_t ox0 = 0; ox0 < s.out_w; ox0 += kPixels) {
      const int32_t pixels = s.out_w - ox0 < kPixels ? s.out_w - ox0 : kPixels;
      for (int32_t j = 0; j < pixels; ++j) {
        pack_window(s, x, rq.in_zero_point, oy, ox0 + j, columns + j * pitch);
      }
      for (int32_t j = pixels; j < kPixels; ++j) fill_zero(length, columns + j * pitch);
      int8_t* const out = y + (oy * s.out_w + ox0) * s.out_c;
      for (int32_t o = 0; o < s.out_c; ++o) {
        int32_t sums[kPixels];
        dot4(w + o * length, columns, pitch, length, sums);
        const int32_t start = bias == nullptr ? 0 : bias[o];
        for (int32_t j = 0; j < pixels; ++j) {
          out[j * s.out_c + o] = requantize(wrapping_add(sums[j], start), rq, o);
        }
      }
    }
  }
}

uint32_t conv2d_s8_bwd_input_portable(const Conv2dShape& s, const ErrorView& e_y, const int8_t* w,
                                      const int16_t* q, int32_t shift, void* scratch, int8_t* e_x) {
  const int32_t all_taps = s.kernel_h * s.kernel_w * s.out_c;
  const int32_t row = row_pitch<int16_t>(all_taps);
  int16_t* const scaled = static_cast<int16_t*>(scratch);
  int16_t* const columns = scaled + kInputTile * row;
  uint32_t largest = 0;
  for (int32_t i = 0; i < s.in_c; i += kInputTile) {
    const int32_t channels = s.in_c - i < kInputTile ? s.in_c - i : kInputTile;
    for (int32_t ry = 0; ry < s.stride_h; ++ry) {
      const Phase py = phase_of(ry, s.kernel_h, s.stride_h, s.pad_top);
      for (int32_t rx = 0; rx < s.stride_w; ++rx) {
        const Phase px = phase_of(rx, s.kernel_w, s.stride_w, s.pad_left);
        scale_weights(s, w, q, py, px, i, channels, scaled);
        const uint32_t m =
            phase_bwd_input(s, e_y, py, px, scaled, i, channels, shift, columns, e_x);
        if (m > largest) largest = m;
      }
    }
  }
  return largest;
}

void conv2d_s8_bwd_weight_portable(const Conv2dShape& s, const ErrorView& e_y, const int8_t* x,
                                   int32_t x_zero_point, void* scratch, GradientSink sink,
                                   void* context) {
  const int32_t length = s.kernel_h * s.kernel_w * s.in_c;
  const int32_t pitch = row_pitch<int32_t>(length);
  const int32_t pixels = s.out_h * s.out_w;
  const int32_t e_pitch = row_pitch<int16_t>(pixels);
  int32_t* const g = static_cast<int32_t*>(scratch);
  int16_t* const e = reinterpret_cast<int16_t*>(g + kGradientRows * pitch);
  for (int32_t row = 0; row < s.out_c; row += kGradientRows) {
    GradientRows rows = {
        row, s.out_c - row < kGradientRows ? s.out_c - row : kGradientRows, {}, {}};
    for (int32_t r = 0; r < kGradientRows; ++r) {
      int16_t* const e_row = e + r * e_pitch;
      rows.g[r] = g + r * pitch;
      for (int32_t k = 0; k < length; ++k) rows.g[r][k] = 0;
      for (int32_t p = 0; p < pixels; ++p) {
        const int32_t e_value = r < rows.count ? error_value(e_y, p * s.out_c + row + r) : 0;
        e_row[p] = static_cast<int16_t>(e_value);
        rows.bias[r] += e_row[p];
      }
    }
    for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
      for (int32_t kx = 0; kx < s.kernel_w; ++kx) {
        accumulate_tap(s, x, x_zero_point, ky, kx, e, e_pitch, g + (ky * s.kernel_w + kx) * s.in_c,
                       pitch);
      }
    }
    sink(context, rows);
  }
}

}  // namespace tbft
