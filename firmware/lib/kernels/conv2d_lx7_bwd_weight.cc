// Weight gradient on Xtensa: dot products over the pixels, one plane of errors for each output
// channel and one plane of inputs for each input channel and kernel column.
#include "kernels/conv2d_lx7_bwd_weight.h"

#if TBFT_KERNELS_LX7

namespace tbft {
namespace {

constexpr int32_t kGradientRows = 4;
constexpr int32_t kFewestPixels = 8;  // below, the portable form is better

// Planes are [row][width] for errors and [row % stride][row / stride][width] for inputs: so that
// the rows of input that a kernel row meets lie one after the other, like those of the errors.
struct Layout {
  int32_t width;       // out_w rounded up to even: rows start at multiples of 4 bytes
  int32_t quads;       // of a dot product
  int32_t phase_rows;  // of inputs, for each remainder of the row by the stride
};

bool make_layout(const Conv2dShape& s, Layout* layout) {
  Layout& l = *layout;
  l.width = lx7::round_up(s.out_w, 2);
  l.quads = (s.out_h * l.width + 3) / 4;
  l.phase_rows = s.out_h + (s.kernel_h - 1) / s.stride_h;
  const int64_t gradients = int64_t{4} * kGradientRows * s.kernel_h * s.kernel_w * s.in_c;
  const int64_t errors = int64_t{2} * kGradientRows * 4 * l.quads;
  const int64_t inputs = int64_t{2} * s.stride_h * l.phase_rows * l.width;
  return gradients + errors + inputs + lx7::kSlackBytes <=
         static_cast<int64_t>(conv2d_s8_bwd_weight_scratch_bytes(s));
}

// Errors of one output channel; returns their sum.
int32_t copy_errors(const Conv2dShape& s, const Layout& l, const ErrorView& e_y, int32_t o,
                    int16_t* to) {
  int32_t sum = 0;
  int32_t done = 0;
  for (int32_t oy = 0; oy < s.out_h; ++oy) {
    for (int32_t ox = 0; ox < s.out_w; ++ox) {
      const int32_t e = error_value(e_y, (oy * s.out_w + ox) * s.out_c + o);
      to[done++] = static_cast<int16_t>(e);
      sum += e;
    }
    if (l.width != s.out_w) to[done++] = 0;
  }
  while (done < 4 * l.quads) to[done++] = 0;
  return sum;
}

// Output columns low .. high - 1 have their input for this kernel column; input column `first` is
// that of the lowest.
struct Columns {
  int32_t low;
  int32_t high;
  int32_t first;
};

Columns columns_of(const Conv2dShape& s, int32_t kx) {
  const int32_t before = s.pad_left - kx;  // output ox meets input ox * stride - before
  const int32_t low = before > 0 ? (before + s.stride_w - 1) / s.stride_w : 0;
  if (s.in_w - 1 + before < 0 || low >= s.out_w) return {s.out_w, s.out_w, 0};
  const int32_t past = (s.in_w - 1 + before) / s.stride_w + 1;
  return {low, past < s.out_w ? past : s.out_w, low * s.stride_w - before};
}

// Rows of inputs, `columns` in each and the padding around them. The zero point stays in (and is
// what the padding holds).
__attribute__((noinline)) void copy_rows(const Columns& columns, const int8_t* from, int32_t step,
                                         int32_t row_step, int32_t width, int32_t rows,
                                         int32_t zero_point, int16_t* to) {
  const int16_t padding = static_cast<int16_t>(zero_point);
  const int32_t inside = columns.high - columns.low;
  for (; rows > 0; --rows, from += row_step) {
    int16_t* const end = to + width;
    for (int32_t k = columns.low; k > 0; --k) *to++ = padding;
    const int8_t* x = from;
    for (int32_t k = inside; k > 0; --k, x += step) *to++ = *x;
    while (to != end) *to++ = padding;
  }
}

// The inputs of one channel that a kernel column meets, x pointing at the channel of pixel 0. Rows
// outside the input, always the same, are filled only for the first.
void copy_inputs(const Conv2dShape& s, const Layout& l, const int8_t* x, int32_t zero_point,
                 const Columns& columns, bool fill, int16_t* to) {
  const int32_t row_step = s.in_w * s.in_c;
  for (int32_t phase = 0; phase < s.stride_h; ++phase, to += l.phase_rows * l.width) {
    // Row r is input row r * stride + phase - pad_top.
    const int32_t top = s.pad_top - phase;
    const int32_t from = top > 0 ? (top + s.stride_h - 1) / s.stride_h : 0;
    const int32_t past = s.in_h - 1 + top < 0 ? 0 : (s.in_h - 1 + top) / s.stride_h + 1;
    const int32_t end = past < l.phase_rows ? past : l.phase_rows;
    if (fill) {
      for (int32_t k = 0; k < l.phase_rows * l.width; ++k) to[k] = static_cast<int16_t>(zero_point);
    }
    if (from >= end) continue;
    const int32_t first = (from * s.stride_h - top) * row_step + columns.first * s.in_c;
    copy_rows(columns, x + first, s.stride_w * s.in_c, s.stride_h * row_step, l.width, end - from,
              zero_point, to + from * l.width);
  }
}

// What the sums of one input channel and kernel column need.
struct ColumnSums {
  const int16_t* errors;  // [row][4 * quads]
  int32_t quads;
  int32_t count;                      // of rows
  int32_t correction[kGradientRows];  // zero point * sum of errors, below 2^30
};

__attribute__((noinline)) void set_gradients(const ColumnSums& sums, const int16_t* inputs,
                                             int32_t at, int32_t* const* g) {
  const int16_t* errors = sums.errors;
  for (int32_t r = 0; r < sums.count; ++r, errors += 4 * sums.quads) {
    g[r][at] = wrapping_add(lx7::dot(inputs, errors, sums.quads), -sums.correction[r]);
  }
}

}  // namespace

bool conv2d_s8_bwd_weight_lx7(const Conv2dShape& s, const ErrorView& e_y, const int8_t* x,
                              int32_t x_zero_point, void* scratch, GradientSink sink,
                              void* context) {
  if (lx7::bwd_weight_tiles(s, e_y, x, x_zero_point, scratch, sink, context)) return true;
  Layout l;
  if (s.out_h * s.out_w < kFewestPixels || !make_layout(s, &l)) return false;
  const int32_t length = s.kernel_h * s.kernel_w * s.in_c;
  int32_t* const g = static_cast<int32_t*>(scratch);
  int16_t* const errors = reinterpret_cast<int16_t*>(g + kGradientRows * length);
  int16_t* const inputs = errors + kGradientRows * 4 * l.quads;
  for (int32_t row = 0; row < s.out_c; row += kGradientRows) {
    const int32_t left = s.out_c - row;
    GradientRows rows = {row, left < kGradientRows ? left : kGradientRows, {}, {}};
    ColumnSums sums = {errors, l.quads, rows.count, {}};
    for (int32_t r = 0; r < rows.count; ++r) {
      rows.g[r] = g + r * length;
      rows.bias[r] = copy_errors(s, l, e_y, row + r, errors + r * 4 * l.quads);
      sums.correction[r] = x_zero_point * rows.bias[r];
    }
    for (int32_t kx = 0; kx < s.kernel_w; ++kx) {
      const Columns columns = columns_of(s, kx);
      for (int32_t i = 0; i < s.in_c; ++i) {
        copy_inputs(s, l, x + i, x_zero_point, columns, i == 0, inputs);
        for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
          const int32_t first = ky % s.stride_h * l.phase_rows + ky / s.stride_h;
          set_gradients(sums, inputs + first * l.width, (ky * s.kernel_w + kx) * s.in_c + i,
                        rows.g);
        }
      }
    }
    sink(context, rows);
  }
  return true;
}

}  // namespace tbft

#endif  // TBFT_KERNELS_LX7
