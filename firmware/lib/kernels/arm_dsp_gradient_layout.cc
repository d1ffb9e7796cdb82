#include "kernels/arm_dsp_gradient_layout.h"

#if TBFT_KERNELS_ARM_DSP

#include "kernels/arm_dsp_winograd.h"
#include "kernels/conv2d.h"
#include "kernels/conv2d_scratch.h"

namespace tbft {
namespace arm {
namespace {

constexpr int64_t kLargestSum = int64_t{1} << 28;

int32_t round_up(int32_t n, int32_t unit) { return (n + unit - 1) / unit * unit; }

// Padded input rows that a strip of output rows uses.
int32_t lines_of(const Conv2dShape& s, int32_t rows) {
  if (s.kernel_h >= s.stride_h) return (rows - 1) * s.stride_h + s.kernel_h;
  return rows * s.kernel_h;
}

int32_t gradient_pitch(const Conv2dShape& s) {
  const uint64_t length = static_cast<uint64_t>(s.kernel_h * s.kernel_w * s.in_c);
  return static_cast<int32_t>(round_up_16(sizeof(int32_t) * length) / sizeof(int32_t));
}

// Fills in rows, lines, chunk and all_inputs; false when the scratch does not hold a single row, or
// exact_rows is 0.
bool choose_rows(const Conv2dShape& s, int64_t exact_rows, GradientLayout* layout) {
  constexpr int32_t kQuad = GradientLayout::kQuad;
  GradientLayout& l = *layout;
  const int64_t words =
      static_cast<int64_t>(conv2d_s8_bwd_weight_scratch_bytes(s) / sizeof(uint32_t)) -
      int64_t{kQuad} * l.g_pitch;
  const auto fits = [&](int32_t rows, int32_t channels) {
    const int64_t errors = int64_t{2} * l.points * rows;
    const int64_t inputs = int64_t{channels / 2} * l.planes * lines_of(s, rows);
    return rows <= exact_rows && (errors + inputs) * l.row_words() <= words;
  };
  const int32_t unit = l.words % 2 == 0 ? 1 : 2;  // rows for a multiple of four products
  int32_t rows = round_up(s.out_h, unit);
  l.all_inputs = fits(rows, round_up(s.in_c, kQuad));
  while (rows > 0 && !fits(rows, kQuad)) rows -= unit;
  if (rows <= 0) return false;
  if (rows < s.out_h) {
    int32_t long_unit = unit;  // rows for whole steps of 16 products
    while (long_unit * 2 * l.words % 16 != 0) long_unit *= 2;
    if (rows >= long_unit) rows -= rows % long_unit;
  }
  l.rows = rows;
  l.lines = lines_of(s, rows);
  const int32_t products = 2 * rows * l.words;
  l.chunk = products % 48 == 0 ? 48 : products % 32 == 0 ? 32 : products % 16 == 0 ? 16 : 4;
  return true;
}

}  // namespace

int32_t GradientLayout::line_of(const Conv2dShape& s, int32_t row) const {
  int32_t line = row / s.stride_h;
  const int32_t used = s.kernel_h < s.stride_h ? s.kernel_h : s.stride_h;
  for (int32_t r = 0; r < row % s.stride_h; ++r) line += (lines - r - 1) / used + 1;
  return line;
}

bool lay_out_winograd(const Conv2dShape& s, int32_t largest_error, GradientLayout* l) {
  constexpr int32_t kQuad = GradientLayout::kQuad;
  constexpr int32_t kWordErrors = 2 * GradientLayout::kTile;
  if (!suits_winograd(s) || s.in_c % kQuad != 0 || s.out_c % kQuad != 0) return false;
  l->g_pitch = gradient_pitch(s);
  l->words = (s.out_w + kWordErrors - 1) / kWordErrors;
  // Half the multiplications, unless the last tiles are mostly beyond the edge.
  if (l->words * kWordErrors * 3 > s.out_w * 5) return false;
  l->points = kPoints;
  l->planes = kPoints;
  // Sums must stay below 2^28 for the last division to be exact.
  return choose_rows(s, (kLargestSum - 1) / (int64_t{largest_error} * 255 * s.out_w), l);
}

bool lay_out_direct(const Conv2dShape& s, GradientLayout* l) {
  if (2 * s.stride_w + s.kernel_w > GradientLayout::kLine) return false;
  l->g_pitch = gradient_pitch(s);
  l->words = (s.out_w + 1) / 2;
  l->points = 1;
  for (l->planes = s.kernel_w; l->planes > 0; --l->planes) {
    if (choose_rows(s, kInt32Max, l)) break;
  }
  if (l->planes < s.kernel_w) l->all_inputs = false;
  return l->planes > 0;
}

}  // namespace arm
}  // namespace tbft

#endif  // TBFT_KERNELS_ARM_DSP
