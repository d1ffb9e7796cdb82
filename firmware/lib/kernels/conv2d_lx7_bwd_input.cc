// Input gradient on Xtensa: a convolution with stride 1 over the padded errors, once for each
// remainder of the input position by the stride.
#include "kernels/conv2d_lx7_winograd.h"

#if TBFT_KERNELS_LX7

#include "kernels/scaled_weight.h"

namespace tbft {
namespace {

constexpr int32_t kSums = 128;  // sums between the multiplications and the narrowing

// One axis of the input positions that share a remainder of (position + pad) by the stride: they
// meet the same taps, and for them the input gradient is a convolution over the error with
// stride 1.
struct Phase {
  int32_t first_tap;
  int32_t taps;
  int32_t first_position;
  int32_t positions;
  int32_t pad;  // of the convolution over the error; may be negative
};

Phase phase_of(int32_t remainder, int32_t kernel, int32_t stride, int32_t pad, int32_t size) {
  Phase phase = {remainder, 0, (remainder - pad) % stride, 0, 0};
  if (phase.first_position < 0) phase.first_position += stride;
  if (remainder < kernel) phase.taps = (kernel - 1 - remainder) / stride + 1;
  if (phase.first_position < size) {
    phase.positions = (size - 1 - phase.first_position) / stride + 1;
  }
  phase.pad = phase.taps - 1 - (phase.first_position + pad - remainder) / stride;
  return phase;
}

struct Layout {
  int32_t channels;       // of the image: out_c rounded up to even
  int32_t row;            // int16 elements of a row of errors
  int32_t run;            // of a kernel row, rounded up to a multiple of 4
  int32_t weight_row;     // of an input channel's weights
  int32_t position_rows;  // at a time
  int32_t image_rows;     // that these meet
  int32_t tile;           // input channels at a time
  bool quads;             // operands in quad order
};

// Either all weights and a few rows, or all rows and a few input channels' weights: so neither is
// widened twice. Where neither fits, something less.
bool make_layout(const Conv2dShape& s, const Phase& py, const Phase& px, bool quads,
                 Layout* layout) {
  Layout& l = *layout;
  l.channels = lx7::round_up(s.out_c, 2);
  l.row = (px.positions + px.taps - 1) * l.channels;
  l.run = lx7::round_up(px.taps * l.channels, 4);
  l.weight_row = py.taps * l.run;
  l.quads = quads;
  const int64_t elements =
      (static_cast<int64_t>(conv2d_s8_bwd_input_scratch_bytes(s)) - lx7::kSlackBytes) / 2;
  const int32_t all_rows = py.positions + py.taps - 1;
  int64_t rows = (elements - int64_t{s.in_c} * l.weight_row) / l.row;
  if (rows >= py.taps) {
    l.tile = s.in_c;
    l.image_rows = rows < all_rows ? static_cast<int32_t>(rows) : all_rows;
  } else {
    rows = (elements - l.weight_row) / l.row;
    if (rows < py.taps) return false;
    l.image_rows = rows < all_rows ? static_cast<int32_t>(rows) : all_rows;
    l.tile = static_cast<int32_t>((elements - int64_t{l.image_rows} * l.row) / l.weight_row);
    if (l.tile > s.in_c) l.tile = s.in_c;
  }
  l.position_rows = l.image_rows - py.taps + 1;
  return true;
}

void copy_errors(const ErrorView& e, int32_t first, int32_t n, bool quads, int16_t* to) {
  if (quads) {
    lx7::widen_quads(e.s8 + first, n, 0, to);
  } else if (e.s8 != nullptr) {
    lx7::widen(e.s8 + first, n, 0, to);
  } else {
    lx7::narrow_wide(e, first, n, to);
  }
}

// Row oy of the errors (perhaps outside) with its padding.
void widen_row(const Conv2dShape& s, const Layout& l, const ErrorView& e_y, const Phase& px,
               int32_t oy, int16_t* to) {
  const int32_t width = l.row / l.channels;
  // A negative pad leaves out the first errors.
  const int32_t skipped = px.pad < 0 ? -px.pad : 0;
  const bool outside = oy < 0 || oy >= s.out_h || px.pad > width || skipped > s.out_w;
  const int32_t before = outside ? width : px.pad + skipped;
  const int32_t there = s.out_w - skipped;
  const int32_t inside = there < width - before ? there : width - before;
  lx7::fill_zero(before * l.channels, to);
  to += before * l.channels;
  const int32_t first = (oy * s.out_w + skipped) * s.out_c;
  if (l.channels == s.out_c) {
    copy_errors(e_y, first, inside * s.out_c, l.quads, to);
  } else {
    for (int32_t p = 0; p < inside; ++p) {
      copy_errors(e_y, first + p * s.out_c, s.out_c, false, to + p * l.channels);
      to[p * l.channels + s.out_c] = 0;
    }
  }
  to += inside * l.channels;
  lx7::fill_zero((width - before - inside) * l.channels, to);
}

// Scaled weights of a tile of input channels, taps reversed: [channel][ty][tx][o].
void scale_weights(const Conv2dShape& s, const Layout& l, const int8_t* w, const int16_t* q,
                   const Phase& py, const Phase& px, int32_t first, int32_t count, int16_t* to) {
  if (l.run != px.taps * s.out_c) lx7::fill_zero(count * l.weight_row, to);
  for (int32_t ty = 0; ty < py.taps; ++ty) {
    const int32_t ky = py.first_tap + (py.taps - 1 - ty) * s.stride_h;
    for (int32_t tx = 0; tx < px.taps; ++tx) {
      const int32_t kx = px.first_tap + (px.taps - 1 - tx) * s.stride_w;
      const int8_t* from = w + (ky * s.kernel_w + kx) * s.in_c + first;
      int16_t* const tap = to + ty * l.run + tx * l.channels;
      for (int32_t o = 0; o < s.out_c; ++o, from += s.kernel_h * s.kernel_w * s.in_c) {
        int16_t* scaled = tap + (l.quads ? lx7::quad_order(o) : o);
        const int32_t factor = q[o];
        for (int32_t i = 0; i < count; ++i, scaled += l.weight_row) {
          *scaled = static_cast<int16_t>(scaled_weight(from[i], factor));
        }
      }
    }
  }
}

// to[k * step] = to_error(sums[k], shift); returns the largest magnitude met, at least `largest`.
// |sums[k]| <= 8192 * 127 * 2048, so that rounding cannot overflow.
__attribute__((noinline)) int32_t narrow_sums(const int32_t* sums, int32_t n, int32_t shift,
                                              int8_t* to, int32_t step, int32_t largest) {
  const int32_t half = shift > 0 ? 1 << (shift - 1) : 0;
  int32_t sum;
  int32_t size = n;
  asm volatile(
      "ssr %[shift]\n\t"
      "loop %[size], 1f\n\t"
      "l32i %[sum], %[sums], 0\n\t"
      "addi %[sums], %[sums], 4\n\t"
      "abs %[size], %[sum]\n\t"
      "max %[largest], %[largest], %[size]\n\t"
      "add %[sum], %[sum], %[half]\n\t"
      "sra %[sum], %[sum]\n\t"
      "min %[sum], %[sum], %[high]\n\t"
      "max %[sum], %[sum], %[low]\n\t"
      "s8i %[sum], %[to], 0\n\t"
      "add %[to], %[to], %[step]\n"
      "1:\n"
      :
      [sums] "+r"(sums), [to] "+r"(to), [largest] "+r"(largest), [size] "+r"(size), [sum] "=&r"(sum)
      : [shift] "r"(shift), [half] "r"(half), [low] "r"(-127), [high] "r"(127), [step] "r"(step)
      : "memory");
  return largest;
}

// Rows of positions of one input channel; returns the largest magnitude.
int32_t convolve_channel(const Conv2dShape& s, const Layout& l, const Phase& py, const Phase& px,
                         const int16_t* image, const int16_t* weights, int32_t rows, int32_t shift,
                         int8_t* e_x) {
  int32_t sums[kSums];
  int32_t waiting = 0;
  int32_t largest = 0;
  const int32_t step = s.stride_w * s.in_c;
  // Rows that follow each other without a gap are narrowed together.
  const bool together = s.stride_h == 1 && s.stride_w == 1;
  for (int32_t r = 0; r < rows; ++r) {
    const int16_t* from = image + r * l.row;
    int8_t* row_end = e_x + r * s.stride_h * s.in_w * s.in_c;
    if (!together) waiting = 0;
    for (int32_t left = px.positions; left > 0;) {
      const int32_t n = left < kSums - waiting ? left : kSums - waiting;
      const lx7::WindowRow row = {from, weights, 2 * l.channels, 2 * l.row, py.taps, l.run / 4, n};
      lx7::dot_windows(row, sums + waiting);
      from += n * l.channels;
      row_end += n * step;
      waiting += n;
      left -= n;
      if (waiting == kSums || (left == 0 && (!together || r == rows - 1))) {
        largest = narrow_sums(sums, waiting, shift, row_end - waiting * step, step, largest);
        waiting = 0;
      }
    }
  }
  return largest;
}

void zero_phase(const Conv2dShape& s, const Phase& py, const Phase& px, int8_t* e_x) {
  for (int32_t y = 0; y < py.positions; ++y) {
    for (int32_t x = 0; x < px.positions; ++x) {
      const int32_t iy = py.first_position + y * s.stride_h;
      const int32_t ix = px.first_position + x * s.stride_w;
      int8_t* const to = e_x + (iy * s.in_w + ix) * s.in_c;
      for (int32_t i = 0; i < s.in_c; ++i) to[i] = 0;
    }
  }
}

int32_t phase_bwd_input(const Conv2dShape& s, const Layout& l, const ErrorView& e_y,
                        const int8_t* w, const int16_t* q, const Phase& py, const Phase& px,
                        int32_t shift, int16_t* scratch, int8_t* e_x) {
  int16_t* const weights = scratch;
  int16_t* const image = scratch + l.tile * l.weight_row;
  int32_t largest = 0;
  int32_t held = 0;     // image rows that are in place already
  int32_t scaled = -1;  // the tile whose weights are in place
  for (int32_t y = 0; y < py.positions; y += l.position_rows) {
    for (int32_t r = held; r < l.image_rows; ++r) {
      widen_row(s, l, e_y, px, y - py.pad + r, image + r * l.row);
    }
    const int32_t left = py.positions - y;
    const int32_t rows = left < l.position_rows ? left : l.position_rows;
    const int32_t iy = py.first_position + y * s.stride_h;
    for (int32_t first = 0; first < s.in_c; first += l.tile) {
      const int32_t count = s.in_c - first < l.tile ? s.in_c - first : l.tile;
      if (scaled != first) scale_weights(s, l, w, q, py, px, first, count, weights);
      scaled = first;
      for (int32_t i = 0; i < count; ++i) {
        int8_t* const to = e_x + (iy * s.in_w + px.first_position) * s.in_c + first + i;
        const int32_t m =
            convolve_channel(s, l, py, px, image, weights + i * l.weight_row, rows, shift, to);
        if (m > largest) largest = m;
      }
    }
    held = l.image_rows - l.position_rows;
    lx7::move_down(image + l.position_rows * l.row, held * l.row, image);
  }
  return largest;
}

// The parts of one input channel's scaled weights, both axes reversed; w is that channel of the
// first weight.
__attribute__((noinline)) void transform_filter(const Conv2dShape& s, int32_t channels,
                                                const int8_t* w, const int16_t* q, int16_t* to) {
  const int32_t in_c = s.in_c;
  const int32_t part = lx7::kKernelRows * channels;
  for (int32_t ky = lx7::kKernelRows - 1; ky >= 0; --ky, to += channels) {
    const int8_t* w2 = w + ky * lx7::kTaps * in_c;
    const int32_t step = (lx7::kKernelRows - 1) * lx7::kTaps * in_c + in_c;
    int32_t o = 0;
    for (; o < s.out_c; ++o, w2 += step) {
      const int32_t factor = q[o];
      const int32_t first = scaled_weight(*w2, factor);
      const int32_t middle = scaled_weight(*(w2 += in_c), factor);
      const int32_t last = scaled_weight(*(w2 += in_c), factor);
      lx7::transform_weights(last, middle, first, part, to + o);
    }
    for (; o < channels; ++o) lx7::transform_weights(0, 0, 0, part, to + o);
  }
}

// Returns -1 where it does not apply, else the largest magnitude.
int32_t bwd_input_winograd(const Conv2dShape& s, const ErrorView& e_y, const int8_t* w,
                           const int16_t* q, int32_t shift, int16_t* scratch, int8_t* e_x) {
  constexpr int32_t kMostChannels = 112;  // keeps |sum| <= 9 * 127 * 2048 * channels below 2^28
  if (!suits_winograd(s) || s.out_c > kMostChannels || s.pad_top > 2) return -1;
  const lx7::WinogradShape shape = {s.out_h,
                                    s.out_w,
                                    s.out_c,
                                    s.in_h,
                                    s.in_w,
                                    s.in_c,
                                    lx7::kKernelRows - 1 - s.pad_top,
                                    lx7::kTaps - 1 - s.pad_left};
  // A wide error is narrowed a row at a time; with 7 bits it fits int8.
  const int32_t row = s.out_w * s.out_c;
  const bool wide = e_y.s8 == nullptr;
  lx7::WinogradLayout l;
  if (!lx7::winograd_layout(shape, conv2d_s8_bwd_input_scratch_bytes(s), wide ? row : 0, &l)) {
    return -1;
  }
  int8_t* const narrowed =
      reinterpret_cast<int8_t*>(scratch + lx7::winograd_weight_elements(l) + lx7::kPoints * l.part);
  int32_t largest = 0;
  lx7::winograd_convolve(
      shape, l, 0, scratch,
      [&](int32_t oy) -> const int8_t* {
        if (!wide) return e_y.s8 + oy * row;
        lx7::narrow_wide(e_y, oy * row, row, narrowed);
        return narrowed;
      },
      [](int32_t c) { return c; },
      [&](int32_t i, int16_t* to) { transform_filter(s, l.channels, w + i, q, to); },
      [](int32_t) { return 0; },
      [&](int32_t i, int32_t first, int32_t rows, int32_t pitch, const int32_t* sums) {
        int8_t* to = e_x + first * s.in_w * s.in_c + i;
        if (pitch == s.in_w) {
          largest = narrow_sums(sums, rows * s.in_w, shift, to, s.in_c, largest);
          return;
        }
        for (; rows > 0; --rows, to += s.in_w * s.in_c, sums += pitch) {
          largest = narrow_sums(sums, s.in_w, shift, to, s.in_c, largest);
        }
      });
  return largest;
}

}  // namespace

bool conv2d_s8_bwd_input_lx7(const Conv2dShape& s, const ErrorView& e_y, const int8_t* w,
                             const int16_t* q, int32_t shift, void* scratch, int8_t* e_x,
                             uint32_t* largest) {
  int32_t most = bwd_input_winograd(s, e_y, w, q, shift, static_cast<int16_t*>(scratch), e_x);
  if (most >= 0) {
    *largest = static_cast<uint32_t>(most);
    return true;
  }
  const bool quads = e_y.s8 != nullptr && s.out_c % 4 == 0 && lx7::is_word_aligned(e_y.s8);
  Layout l = {};
  // No phase has more taps than the first or needs more than where the taps are most.
  for (int32_t ry = 0; ry < s.stride_h; ++ry) {
    for (int32_t rx = 0; rx < s.stride_w; ++rx) {
      const Phase py = phase_of(ry, s.kernel_h, s.stride_h, s.pad_top, s.in_h);
      const Phase px = phase_of(rx, s.kernel_w, s.stride_w, s.pad_left, s.in_w);
      if (py.positions == 0 || px.positions == 0 || py.taps == 0 || px.taps == 0) continue;
      if (!make_layout(s, py, px, quads, &l)) return false;
    }
  }
  most = 0;
  for (int32_t ry = 0; ry < s.stride_h; ++ry) {
    const Phase py = phase_of(ry, s.kernel_h, s.stride_h, s.pad_top, s.in_h);
    for (int32_t rx = 0; rx < s.stride_w; ++rx) {
      const Phase px = phase_of(rx, s.kernel_w, s.stride_w, s.pad_left, s.in_w);
      if (py.positions == 0 || px.positions == 0) continue;
      if (py.taps == 0 || px.taps == 0) {
        zero_phase(s, py, px, e_x);
        continue;
      }
      make_layout(s, py, px, quads, &l);
      const int32_t m =
          phase_bwd_input(s, l, e_y, w, q, py, px, shift, static_cast<int16_t*>(scratch), e_x);
      if (m > most) most = m;
    }
  }
  *largest = static_cast<uint32_t>(most);
  return true;
}

}  // namespace tbft

#endif  // TBFT_KERNELS_LX7
