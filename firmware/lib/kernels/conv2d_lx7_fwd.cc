// Forward pass on Xtensa: windows of a padded int16 image, one output channel's weights at a time.
#include "kernels/conv2d_lx7_winograd.h"

#if TBFT_KERNELS_LX7

#include "kernels/lx7_requantize.h"

namespace tbft {
namespace {

constexpr int32_t kSums = 128;  // sums between the multiplications and the requantization

// Several output rows at a time, so that widening an output channel's weights serves them all.
struct Layout {
  int32_t channels;     // of the image: in_c rounded up to even
  int32_t row;          // int16 elements of an image row
  int32_t run;          // of a kernel row, rounded up to a multiple of 4
  int32_t output_rows;  // at a time
  int32_t image_rows;   // that these meet
  bool quads;           // operands in quad order
};

bool make_layout(const Conv2dShape& s, const int8_t* x, const int8_t* w, Layout* layout) {
  Layout& l = *layout;
  l.channels = lx7::round_up(s.in_c, 2);
  l.row = ((s.out_w - 1) * s.stride_w + s.kernel_w) * l.channels;
  l.run = lx7::round_up(s.kernel_w * l.channels, 4);
  const int64_t bytes = static_cast<int64_t>(conv2d_s8_fwd_scratch_bytes(s));
  const int64_t left = bytes - lx7::kSlackBytes - int64_t{2} * s.kernel_h * l.run;
  const int64_t rows = left < 0 ? 0 : left / (2 * l.row);
  if (rows < s.kernel_h) return false;
  const int32_t fit = static_cast<int32_t>((rows - s.kernel_h) / s.stride_h + 1);
  l.output_rows = fit < s.out_h ? fit : s.out_h;
  l.image_rows = (l.output_rows - 1) * s.stride_h + s.kernel_h;
  l.quads = s.in_c % 4 == 0 && lx7::is_word_aligned(x) && lx7::is_word_aligned(w);
  return true;
}

// Input row iy (perhaps outside the input) minus the zero point, with its padding.
void widen_row(const Conv2dShape& s, const Layout& l, const int8_t* x, int32_t zero_point,
               int32_t iy, int16_t* to) {
  const int32_t width = l.row / l.channels;
  const int32_t before = iy < 0 || iy >= s.in_h || s.pad_left > width ? width : s.pad_left;
  const int32_t inside = s.in_w < width - before ? s.in_w : width - before;
  lx7::fill_zero(before * l.channels, to);
  to += before * l.channels;
  const int8_t* from = x + iy * s.in_w * s.in_c;
  if (l.quads) {
    lx7::widen_quads(from, inside * s.in_c, zero_point, to);
  } else if (l.channels == s.in_c) {
    lx7::widen(from, inside * s.in_c, zero_point, to);
  } else {
    for (int32_t p = 0; p < inside; ++p) {
      lx7::widen(from + p * s.in_c, s.in_c, zero_point, to + p * l.channels);
      to[p * l.channels + s.in_c] = 0;
    }
  }
  to += inside * l.channels;
  lx7::fill_zero((width - before - inside) * l.channels, to);
}

// One output channel's weights times 256.
void widen_weights(const Conv2dShape& s, const Layout& l, const int8_t* w, int16_t* to) {
  if (l.quads) {
    for (int32_t k = s.kernel_h * l.run / 4; k > 0; --k, w += 4, to += 4) {
      const uint32_t bytes = lx7::load_word(w);
      lx7::store_word(to, (bytes << 8) & 0xff00ff00U);
      lx7::store_word(to + 2, bytes & 0xff00ff00U);
    }
    return;
  }
  for (int32_t ky = 0; ky < s.kernel_h; ++ky, to += l.run) {
    int32_t n = 0;
    for (int32_t kx = 0; kx < s.kernel_w; ++kx, w += s.in_c) {
      for (int32_t i = 0; i < s.in_c; ++i) to[n++] = static_cast<int16_t>(w[i] * 256);
      if (l.channels != s.in_c) to[n++] = 0;
    }
    while (n < l.run) to[n++] = 0;
  }
}

// Output rows first_row .. of one channel.
void convolve_channel(const Conv2dShape& s, const Layout& l, const int16_t* image,
                      const int16_t* weights, int32_t rows, int32_t start,
                      const lx7::Requantizer& requantize_sums, int8_t* y) {
  int32_t sums[kSums];
  int32_t waiting = 0;
  for (int32_t r = 0; r < rows; ++r) {
    const int16_t* from = image + r * s.stride_h * l.row;
    for (int32_t left = s.out_w; left > 0;) {
      const int32_t n = left < kSums - waiting ? left : kSums - waiting;
      const lx7::WindowRow row = {
          from, weights, 2 * s.stride_w * l.channels, 2 * l.row, s.kernel_h, l.run / 4, n};
      lx7::dot_windows_256(row, start, sums + waiting);
      from += n * s.stride_w * l.channels;
      waiting += n;
      left -= n;
      if (waiting == kSums || (left == 0 && r == rows - 1)) {
        requantize_sums(sums, waiting, y, s.out_c);
        y += waiting * s.out_c;
        waiting = 0;
      }
    }
  }
}

// The parts of one filter's weights.
__attribute__((noinline)) void transform_filter(const Conv2dShape& s, int32_t channels,
                                                const int8_t* w, int16_t* to) {
  for (int32_t ky = 0; ky < lx7::kKernelRows; ++ky, w += lx7::kTaps * s.in_c, to += channels) {
    const int8_t* w0 = w;
    const int8_t* w1 = w0 + s.in_c;
    const int8_t* w2 = w1 + s.in_c;
    int32_t i = 0;
    for (; i < s.in_c; ++i) {
      lx7::transform_weights(*w0++, *w1++, *w2++, lx7::kKernelRows * channels, to + i);
    }
    for (; i < channels; ++i) {
      lx7::transform_weights(0, 0, 0, lx7::kKernelRows * channels, to + i);
    }
  }
}

// The parts of two channels at once: two int16 in a word as one number, high * 2^16 + low, add and
// subtract like numbers as long as the halves stay within 16 bits. In memory a negative low half
// must not have lent from the high one.
inline __attribute__((always_inline)) void transform_pair(uint32_t w0, uint32_t w1, uint32_t w2,
                                                          int32_t part, int16_t* to) {
  uint32_t ends;
  uint32_t pair;
  uint32_t lent;
  // clang-format off
#define TBFT_LX7_STORE_PAIR(pair)         \
  "and %[lent], %[" pair "], %[sign]\n\t" \
  "addx2 %[lent], %[lent], %[" pair "]\n\t" \
  "s32i %[lent], %[to], 0\n\t"
  // clang-format on
  asm volatile("add %[ends], %[w0], %[w2]\n\t"  //
               TBFT_LX7_STORE_PAIR("w0")        //
               "add %[to], %[to], %[part]\n\t"
               "add %[pair], %[ends], %[w1]\n\t"  //
               TBFT_LX7_STORE_PAIR("pair")        //
               "add %[to], %[to], %[part]\n\t"
               "sub %[pair], %[ends], %[w1]\n\t"  //
               TBFT_LX7_STORE_PAIR("pair")        //
               "addx4 %[ends], %[w2], %[w0]\n\t"
               "add %[to], %[to], %[part]\n\t"
               "addx2 %[pair], %[w1], %[ends]\n\t"  //
               TBFT_LX7_STORE_PAIR("pair")          //
               "add %[to], %[to], %[part]\n\t"
               "subx2 %[pair], %[w1], %[ends]\n\t"  //
               TBFT_LX7_STORE_PAIR("pair")          //
               "add %[to], %[to], %[part]\n\t"      //
               TBFT_LX7_STORE_PAIR("w2")
               : [to] "+r"(to), [ends] "=&r"(ends), [pair] "=&r"(pair), [lent] "=&r"(lent)
               : [w0] "r"(w0), [w1] "r"(w1), [w2] "r"(w2), [part] "r"(2 * part), [sign] "r"(0x8000)
               : "memory");
#undef TBFT_LX7_STORE_PAIR
}

// The same four channels at a time, in quad order; in_c is a multiple of 4, w aligned.
__attribute__((noinline)) void transform_filter_quads(int32_t in_c, const int8_t* w, int16_t* to) {
  constexpr uint32_t kEven = 0xff00ffU;
  constexpr uint32_t kOffset = 0x800080U;
  const int32_t part = lx7::kKernelRows * in_c;
  for (int32_t ky = 0; ky < lx7::kKernelRows; ++ky, w += (lx7::kTaps - 1) * in_c) {
    for (int32_t k = in_c / 4; k > 0; --k, w += 4, to += 4) {
      const uint32_t w0 = lx7::load_word(w) ^ 0x80808080U;
      const uint32_t w1 = lx7::load_word(w + in_c) ^ 0x80808080U;
      const uint32_t w2 = lx7::load_word(w + 2 * in_c) ^ 0x80808080U;
      transform_pair((w0 & kEven) - kOffset, (w1 & kEven) - kOffset, (w2 & kEven) - kOffset, part,
                     to);
      transform_pair(((w0 >> 8) & kEven) - kOffset, ((w1 >> 8) & kEven) - kOffset,
                     ((w2 >> 8) & kEven) - kOffset, part, to + 2);
    }
  }
}

bool fwd_winograd(const Conv2dShape& s, const int8_t* x, const int8_t* w, const int32_t* bias,
                  const Requantization& rq, int16_t* scratch, int8_t* y) {
  constexpr int32_t kMostChannels = 800;  // keeps |sum| below 2^28
  if (!suits_winograd(s) || s.in_c > kMostChannels || s.pad_top > 2) return false;
  const lx7::WinogradShape shape = {s.in_h,  s.in_w,  s.in_c,    s.out_h,
                                    s.out_w, s.out_c, s.pad_top, s.pad_left};
  lx7::WinogradLayout l;
  if (!lx7::winograd_layout(shape, conv2d_s8_fwd_scratch_bytes(s), 0, &l)) return false;
  const int32_t filter = lx7::kKernelRows * lx7::kTaps * s.in_c;
  const bool quads = s.in_c % 4 == 0 && lx7::is_word_aligned(w);
  lx7::winograd_convolve(
      shape, l, rq.in_zero_point, scratch, [&](int32_t iy) { return x + iy * s.in_w * s.in_c; },
      [quads](int32_t c) { return quads ? lx7::quad_order(c) : c; },
      [&](int32_t o, int16_t* to) {
        if (quads) return transform_filter_quads(s.in_c, w + o * filter, to);
        transform_filter(s, l.channels, w + o * filter, to);
      },
      [&](int32_t o) { return bias == nullptr ? 0 : bias[o]; },
      [&](int32_t o, int32_t row, int32_t rows, int32_t pitch, const int32_t* sums) {
        const lx7::Requantizer requantize_sums(rq, o);
        int8_t* to = y + row * s.out_w * s.out_c + o;
        if (pitch == s.out_w) {
          requantize_sums(sums, rows * s.out_w, to, s.out_c);
          return;
        }
        for (; rows > 0; --rows, to += s.out_w * s.out_c, sums += pitch) {
          requantize_sums(sums, s.out_w, to, s.out_c);
        }
      });
  return true;
}

}  // namespace

bool conv2d_s8_fwd_lx7(const Conv2dShape& s, const int8_t* x, const int8_t* w, const int32_t* bias,
                       const Requantization& rq, void* scratch, int8_t* y) {
  if (fwd_winograd(s, x, w, bias, rq, static_cast<int16_t*>(scratch), y)) return true;
  Layout l;
  if (!make_layout(s, x, w, &l)) return false;
  int16_t* const weights = static_cast<int16_t*>(scratch);
  int16_t* const image = weights + s.kernel_h * l.run;
  int32_t held = 0;  // image rows that are in place already
  for (int32_t oy = 0; oy < s.out_h; oy += l.output_rows) {
    for (int32_t r = held; r < l.image_rows; ++r) {
      widen_row(s, l, x, rq.in_zero_point, oy * s.stride_h - s.pad_top + r, image + r * l.row);
    }
    const int32_t left = s.out_h - oy;
    const int32_t rows = left < l.output_rows ? left : l.output_rows;
    for (int32_t o = 0; o < s.out_c; ++o) {
      widen_weights(s, l, w + o * s.kernel_h * s.kernel_w * s.in_c, weights);
      convolve_channel(s, l, image, weights, rows, bias == nullptr ? 0 : bias[o],
                       lx7::Requantizer(rq, o), y + oy * s.out_w * s.out_c + o);
    }
    const int32_t passed = l.output_rows * s.stride_h;
    held = passed < l.image_rows ? l.image_rows - passed : 0;
    lx7::move_down(image + passed * l.row, held * l.row, image);
  }
  return true;
}

}  // namespace tbft

#endif  // TBFT_KERNELS_LX7
