// Weight gradient with the Cortex-M DSP extension: for each tap, products of two output and two
// input channels at a time, summed over pairs of output pixels.
//
// Errors and inputs are laid out channel by channel so that a word holds what belongs to two
// neighbouring output pixels of a row; then every tap of the kernel is one contiguous run. Of
// 3-wide kernels of stride 1, words hold factors of two neighbouring tiles of four errors each
// instead (arm_dsp_winograd.h): three taps then need six products for four errors, not twelve.
#include "kernels/dispatch.h"

#if TBFT_KERNELS_ARM_DSP

#include "kernels/arm_dsp.h"
#include "kernels/arm_dsp_dot.h"
#include "kernels/arm_dsp_errors.h"
#include "kernels/arm_dsp_gradient_layout.h"
#include "kernels/arm_dsp_winograd.h"

namespace tbft {
namespace {

using arm::FourSums;
using arm::GradientLayout;
using arm::InputFactors;
using arm::kPoints;
using arm::window_is_input;

constexpr int32_t kTaps = 3;      // of kernels for Winograd's method
constexpr int32_t kMaxSums = 36;  // groups of four sums on the stack
constexpr uint32_t kOnes = 0x00010001;
constexpr int32_t kTile = GradientLayout::kTile;
constexpr int32_t kQuad = GradientLayout::kQuad;
constexpr int32_t kLine = GradientLayout::kLine;

// The factors of the tiles of a line of two channels; each channel's two tiles become one word.
__attribute__((noinline)) void transform_line(const uint32_t* d, int32_t words, int32_t step,
                                              uint32_t* low, uint32_t* high) {
  for (; words > 0; --words, d += 2 * kTile, low += 2, high += 2) {
    const InputFactors first = arm::input_factors(d[0], d[1], d[2], d[3], d[4], d[5]);
    const InputFactors second = arm::input_factors(d[4], d[5], d[6], d[7], d[8], d[9]);
    uint32_t* to_low = low;
    uint32_t* to_high = high;
    for (int32_t i = 0; i < kPoints; ++i, to_low += step, to_high += step) {
      *to_low = arm::pack_low(first.p[i], second.p[i]);
      *to_high = arm::pack_high(first.p[i], second.p[i]);
    }
  }
}

// Of a line of two channels, for each of `planes` columns of the kernel: columns at, at + stride,
// ... in pairs; each channel's pairs become words.
__attribute__((noinline)) void pair_columns(const uint32_t* line, int32_t words, int32_t stride,
                                            int32_t planes, int32_t step, uint32_t* low,
                                            uint32_t* high) {
  for (; planes > 0; --planes, ++line, low += step, high += step) {
    const uint32_t* first = line;
    for (int32_t i = 0; i < words; ++i, first += 2 * stride) {
      low[2 * i] = arm::pack_low(first[0], first[stride]);
      high[2 * i] = arm::pack_high(first[0], first[stride]);
    }
  }
}

// The same for three columns, each word of the line loaded once.
template <int kStride>
__attribute__((noinline)) void pair_three_columns(const uint32_t* d, int32_t words, int32_t step,
                                                  uint32_t* low, uint32_t* high) {
  for (; words > 0; --words, d += 2 * kStride, low += 2, high += 2) {
    uint32_t column[3 + kStride];
    for (int i = 0; i < 3 + kStride; ++i) column[i] = d[i];
    low[0] = arm::pack_low(column[0], column[kStride]);
    high[0] = arm::pack_high(column[0], column[kStride]);
    low[step] = arm::pack_low(column[1], column[1 + kStride]);
    high[step] = arm::pack_high(column[1], column[1 + kStride]);
    low[2 * step] = arm::pack_low(column[2], column[2 + kStride]);
    high[2 * step] = arm::pack_high(column[2], column[2 + kStride]);
  }
}

void pair_columns_of(const Conv2dShape& s, const uint32_t* line, int32_t words, int32_t planes,
                     int32_t step, uint32_t* low, uint32_t* high) {
  if (planes == 3 && s.stride_w == 1) {
    pair_three_columns<1>(line, words, step, low, high);
  } else if (planes == 3 && s.stride_w == 2) {
    pair_three_columns<2>(line, words, step, low, high);
  } else {
    pair_columns(line, words, s.stride_w, planes, step, low, high);
  }
}

// A fully connected layer: one product for each gradient.
void one_pixel(const Conv2dShape& s, const ErrorView& e_y, const int8_t* x, int32_t zero_point,
               void* scratch, GradientSink sink, void* context) {
  const int32_t length = s.kernel_h * s.kernel_w * s.in_c;
  int32_t* const g = static_cast<int32_t*>(scratch);
  for (int32_t o = 0; o < s.out_c; o += kQuad) {
    GradientRows rows = {o, s.out_c - o < kQuad ? s.out_c - o : kQuad, {}, {}};
    for (int32_t r = 0; r < rows.count; ++r) {
      const int32_t e = error_value(e_y, o + r);
      int32_t* const row = g + r * length;
      for (int32_t k = 0; k < length; ++k) row[k] = e * (x[k] - zero_point);
      rows.g[r] = row;
      rows.bias[r] = e;
    }
    sink(context, rows);
  }
}

arm::DotPoints dot_points_of(int32_t chunk) {
  switch (chunk) {
    case 48:
      return arm::tbft_arm_dot_points_48;
    case 32:
      return arm::tbft_arm_dot_points_32;
    case 16:
      return arm::tbft_arm_dot_points_16;
    default:
      return arm::tbft_arm_dot_points_4;
  }
}

template <bool kWinograd>
class Gradient {
 public:
  Gradient(const Conv2dShape& s, const GradientLayout& layout, const ErrorView& e_y,
           const int8_t* x, int32_t zero_point, void* scratch)
      : s_(s),
        l_(layout),
        dot_(dot_points_of(layout.chunk)),
        e_y_(e_y),
        error_quads_(e_y),
        x_(x),
        zero_point_(zero_point),
        g_(static_cast<int32_t*>(scratch)),
        errors_(static_cast<uint32_t*>(scratch) + kQuad * layout.g_pitch),
        inputs_(errors_ + 2 * layout.error_pair_words()) {}

  void run(GradientSink sink, void* context) {
    for (int32_t o = 0; o < s_.out_c; o += kQuad) {
      GradientRows rows = {o, s_.out_c - o < kQuad ? s_.out_c - o : kQuad, {}, {}};
      for (int32_t r = 0; r < kQuad; ++r) rows.g[r] = g_ + r * l_.g_pitch;
      for (int32_t y = 0; y < s_.out_h; y += l_.rows) {
        lay_out_errors(o, y, rows.bias);
        for (int32_t i = 0; i < s_.in_c; i += kQuad) {
          uint32_t* const inputs = inputs_ + (l_.all_inputs ? i / 2 * l_.input_pair_words() : 0);
          if constexpr (kWinograd) {
            if (o == 0 || !l_.all_inputs) lay_out_inputs(i, y, 0, kPoints, inputs);
            multiply(i, y > 0, inputs);
          } else {
            for (int32_t kx = 0; kx < s_.kernel_w; kx += l_.planes) {
              const int32_t planes = s_.kernel_w - kx < l_.planes ? s_.kernel_w - kx : l_.planes;
              if (o == 0 || !l_.all_inputs) lay_out_inputs(i, y, kx, planes, inputs);
              multiply_taps(i, kx, planes, y > 0, inputs);
            }
          }
        }
      }
      sink(context, rows);
    }
  }

 private:
  // Channels o .. o + 3 of an error; 0 beyond the last channel and column.
  arm::ErrorQuads::Quad error_quad(int32_t y, int32_t column, int32_t o) const {
    if (column >= s_.out_w) return {0, 0};
    const int32_t at = (y * s_.out_w + column) * s_.out_c + o;
    if (o + kQuad <= s_.out_c) return error_quads_.load(at);
    uint32_t value[kQuad] = {};
    for (int32_t i = 0; i < s_.out_c - o; ++i) {
      value[i] = static_cast<uint32_t>(error_value(e_y_, at + i));
    }
    return error_quads_.pack(value);
  }

  // Errors of channels o .. o + 3 and rows y ..; adds them to bias.
  __attribute__((noinline)) void lay_out_errors(int32_t o, int32_t y, int32_t* bias) {
    constexpr int32_t kPixels = kWinograd ? kTile : 1;
    const int32_t point_words = l_.rows * l_.row_words();
    int32_t sums[kQuad] = {bias[0], bias[1], bias[2], bias[3]};
    for (int32_t r = 0; r < l_.rows; ++r) {
      uint32_t* to = errors_ + r * l_.row_words();
      if (y + r >= s_.out_h) {
        for (int32_t i = 0; i < 2 * l_.points; ++i, to += point_words) {
          arm::fill_zero(2 * l_.row_words(), reinterpret_cast<int16_t*>(to));
        }
        continue;
      }
      for (int32_t column = 0; column < s_.out_w; column += 2 * kPixels, to += 2) {
        arm::ErrorQuads::Quad quads[2 * kPixels];
        for (int32_t j = 0; j < 2 * kPixels; ++j) quads[j] = error_quad(y + r, column + j, o);
        for (int32_t channel = 0; channel < kQuad; ++channel) {
          uint32_t e[kPixels];
          for (int32_t j = 0; j < kPixels; ++j) {
            e[j] = error_quads_.channel_pair(quads[j], quads[j + kPixels], channel);
          }
          uint32_t* at = to + channel / 2 * l_.error_pair_words() + channel % 2;
          if constexpr (kWinograd) {
            const InputFactors f = arm::error_factors(e[0], e[1], e[2], e[3]);
            sums[channel] = arm::dot_pair(f.p[1], kOnes, sums[channel]);
            for (int32_t i = 0; i < kPoints; ++i, at += point_words) *at = f.p[i];
          } else {
            sums[channel] = arm::dot_pair(e[0], kOnes, sums[channel]);
            *at = e[0];
          }
        }
      }
    }
    for (int32_t channel = 0; channel < kQuad; ++channel) bias[channel] = sums[channel];
  }

  // Input channels i .. i + 3 of the padded rows that meet errors of rows y ..: their factors
  // (Winograd) or the words of kernel columns kx .. kx + planes - 1.
  void lay_out_inputs(int32_t i, int32_t y, int32_t kx, int32_t planes, uint32_t* inputs) const {
    const int32_t rows = s_.out_h - y < l_.rows ? s_.out_h - y : l_.rows;
    const int32_t padded = (rows - 1) * s_.stride_h + s_.kernel_h;
    for (int32_t row = 0; row < padded; ++row) {
      if (row % s_.stride_h >= s_.kernel_h) continue;  // between the windows
      uint32_t* const to = inputs + l_.line_of(s_, row) * l_.row_words();
      const int32_t iy = y * s_.stride_h + row - s_.pad_top;
      if (iy >= 0 && iy < s_.in_h) {
        lay_out_line(i, x_ + iy * s_.in_w * s_.in_c, kx, planes, to);
        continue;
      }
      uint32_t* at = to;
      for (int32_t k = 0; k < 2 * l_.planes; ++k, at += l_.plane_words()) {
        arm::fill_zero(2 * l_.row_words(), reinterpret_cast<int16_t*>(at));
      }
    }
  }

  void lay_out_line(int32_t i, const int8_t* row, int32_t kx, int32_t planes, uint32_t* to) const {
    uint32_t even[kLine];
    uint32_t odd[kLine];
    const arm::Lines lines = {even, odd};
    const int32_t word_columns = kWinograd ? 2 * kTile : 2 * s_.stride_w;
    const int32_t more = kWinograd ? kTaps - 1 : s_.kernel_w - s_.stride_w;
    const int32_t at_a_time = (kLine - (more > 0 ? more : 0)) / word_columns;
    const int32_t other = l_.input_pair_words();
    for (int32_t word = 0; word < l_.words; word += at_a_time, to += 2 * at_a_time) {
      const int32_t words = l_.words - word < at_a_time ? l_.words - word : at_a_time;
      widen(i, row, word * word_columns - s_.pad_left, words * word_columns + more, lines);
      if constexpr (kWinograd) {
        transform_line(even, words, l_.plane_words(), to, to + other);         // channels 0 and 2
        transform_line(odd, words, l_.plane_words(), to + 1, to + 1 + other);  // 1 and 3
      } else {
        const int32_t step = l_.plane_words();
        pair_columns_of(s_, even + kx, words, planes, step, to, to + other);  // channels 0 and 2
        pair_columns_of(s_, odd + kx, words, planes, step, to + 1, to + 1 + other);  // 1 and 3
      }
    }
  }

  void widen(int32_t i, const int8_t* row, int32_t first, int32_t n, const arm::Lines& to) const {
    if (i + kQuad <= s_.in_c) {
      arm::widen_columns(row + i, s_.in_w, s_.in_c, arm::both_halves(-zero_point_), first, n, to);
      return;
    }
    for (int32_t k = 0; k < n; ++k) {  // the last, odd channels
      const int32_t ix = first + k;
      uint32_t value[kQuad] = {};
      for (int32_t c = 0; ix >= 0 && ix < s_.in_w && c < s_.in_c - i; ++c) {
        value[c] = static_cast<uint32_t>(row[ix * s_.in_c + i + c] - zero_point_);
      }
      to.even[k] = arm::pack_low(value[0], value[2]);
      to.odd[k] = arm::pack_low(value[1], value[3]);
    }
  }

  // Gradients of four output channels by input channels i .. i + 3.
  void multiply(int32_t i, bool accumulate, const uint32_t* inputs) const {
    const uint32_t* x[2 * kTaps];
    for (int32_t k = 0; k < kTaps; ++k) {
      x[k] = inputs + k * l_.row_words();
      x[kTaps + k] = x[k] + l_.input_pair_words();
    }
    multiply_blocks(x, 2 * kTaps, [&](const FourSums* sums, int32_t* g) {
      store_factors(&sums->a0, accumulate, g + i);
      store_factors(&(sums + kTaps * kPoints)->a0, accumulate, g + i + 2);
    });
  }

  // The same without Winograd's method, of kernel columns kx .. kx + planes - 1; as many taps at a
  // time as there is room for sums.
  void multiply_taps(int32_t i, int32_t kx, int32_t planes, bool accumulate,
                     const uint32_t* inputs) const {
    const int32_t channels = s_.in_c - i;
    for (int32_t pair = 0; 2 * pair < channels && pair < 2; ++pair) {
      const uint32_t* const start = inputs + pair * l_.input_pair_words();
      const bool two = 2 * pair + 1 < channels;
      const uint32_t* x[kMaxSums];
      int32_t at[kMaxSums];
      int32_t n = 0;
      for (int32_t ky = 0; ky < s_.kernel_h; ++ky) {
        const uint32_t* plane = start + l_.line_of(s_, ky) * l_.row_words();
        for (int32_t k = 0; k < planes; ++k, plane += l_.plane_words()) {
          x[n] = plane;
          at[n++] = (ky * s_.kernel_w + kx + k) * s_.in_c;
          if (n < kMaxSums && (ky + 1 < s_.kernel_h || k + 1 < planes)) continue;
          multiply_blocks(x, n, [&](const FourSums* sums, int32_t* g) {
            store_sums(sums, n, at, two, accumulate, g + i + 2 * pair);
          });
          n = 0;
        }
      }
    }
  }

  // store(sums, g) for both pairs of output channels.
  template <typename Store>
  void multiply_blocks(const uint32_t* const* x, int32_t blocks, const Store& store) const {
    const arm::PointRuns runs = {
        2 * l_.rows * l_.words / l_.chunk,
        (l_.lines - l_.rows) * l_.row_words() * static_cast<int32_t>(sizeof(uint32_t)),
        l_.points * static_cast<int32_t>(sizeof(FourSums)), blocks};
    for (int32_t pair = 0; pair < 2; ++pair) {
      FourSums sums[kMaxSums];
      dot_(x, errors_ + pair * l_.error_pair_words(), sums, &runs);
      store(sums, g_ + 2 * pair * l_.g_pitch);
    }
  }

  // Two output channels and two input channels: [ky][point] of sums to the nine taps of each.
  void store_factors(const int32_t* m, bool accumulate, int32_t* g) const {
    store_nine(m, accumulate, g);
    store_nine(m + 1, accumulate, g + 1);
    store_nine(m + 2, accumulate, g + l_.g_pitch);
    store_nine(m + 3, accumulate, g + l_.g_pitch + 1);
  }

  __attribute__((noinline)) void store_nine(const int32_t* m, bool accumulate, int32_t* to) const {
    constexpr int32_t kStep = sizeof(FourSums) / sizeof(int32_t);
    const int32_t step = s_.in_c;
    for (int32_t ky = 0; ky < kTaps; ++ky, m += kPoints * kStep, to += kTaps * step) {
      const arm::OutputQuotients q = arm::output_quotients(
          static_cast<uint32_t>(m[0]), static_cast<uint32_t>(m[kStep]),
          static_cast<uint32_t>(m[2 * kStep]), static_cast<uint32_t>(m[3 * kStep]),
          static_cast<uint32_t>(m[4 * kStep]));
      int32_t taps[kTaps] = {q.y0_8 >> 3, q.y1_4 >> 2, (q.y2_2 >> 1) + m[5 * kStep]};
      if (accumulate) {
        for (int32_t k = 0; k < kTaps; ++k) taps[k] += to[k * step];
      }
      for (int32_t k = 0; k < kTaps; ++k) to[k * step] = taps[k];
    }
  }

  void store_sums(const FourSums* sums, int32_t n, const int32_t* at, bool two, bool accumulate,
                  int32_t* g) const {
    for (int32_t k = 0; k < n; ++k, ++sums) {
      int32_t* const a = g + at[k];
      int32_t* const b = a + l_.g_pitch;
      a[0] = sums->a0 + (accumulate ? a[0] : 0);
      b[0] = sums->b0 + (accumulate ? b[0] : 0);
      if (!two) continue;
      a[1] = sums->a1 + (accumulate ? a[1] : 0);
      b[1] = sums->b1 + (accumulate ? b[1] : 0);
    }
  }

  const Conv2dShape& s_;
  const GradientLayout& l_;
  arm::DotPoints dot_;
  const ErrorView& e_y_;
  arm::ErrorQuads error_quads_;
  const int8_t* x_;
  int32_t zero_point_;
  int32_t* g_;
  uint32_t* errors_;
  uint32_t* inputs_;
};

}  // namespace

bool conv2d_s8_bwd_weight_arm_dsp(const Conv2dShape& s, const ErrorView& e_y, const int8_t* x,
                                  int32_t x_zero_point, void* scratch, GradientSink sink,
                                  void* context) {
  if (window_is_input(s)) {
    one_pixel(s, e_y, x, x_zero_point, scratch, sink, context);
    return true;
  }
  GradientLayout layout = {};
  const int32_t largest_error = e_y.s8 != nullptr ? 128 : (1 << e_y.bits) - 1;
  if (arm::lay_out_winograd(s, largest_error, &layout)) {
    Gradient<true>(s, layout, e_y, x, x_zero_point, scratch).run(sink, context);
    return true;
  }
  if (!arm::lay_out_direct(s, &layout)) return false;
  Gradient<false>(s, layout, e_y, x, x_zero_point, scratch).run(sink, context);
  return true;
}

}  // namespace tbft

#endif  // TBFT_KERNELS_ARM_DSP
