// 3x3 convolutions with stride 1 on Xtensa, by the Toom-Cook (Winograd) algorithm F(4, 3) along the
// width: four outputs of a row from six products for each kernel row and channel instead of twelve.
// Shared by the forward pass and the input gradient.
//
// The weights' parts, for the inputs' parts D of lx7_winograd.h, are
//
//     W = (w0, w0+w1+w2, w0-w1+w2, w0+2w1+4w2, -w0+2w1-4w2, w2)
//
// and with m[j] the sum of W[j] * D[j] over kernel rows and channels, the outputs are
//
//     24 y0 = 6 m0 + 4 (m1 - m2) + m3 + m4          6 y2 = m1 - m2 + m3 + m4
//     12 y1 =        2 (m1 + m2) + m3 - m4     y3 + m5 = (m1 + m2 + 2 (m3 - m4)) / 6.
//
// Exact in integers: sums are kept modulo 2^32, where a division by 3 is a multiplication by its
// inverse, and the divisions by 8, 4 and 2 are right as long as |y| < 2^28. Parts are int16: those
// of weights up to 7 * 2048.
#pragma once

#include "kernels/conv2d_scratch.h"
#include "kernels/lx7_winograd.h"

#if TBFT_KERNELS_LX7

namespace tbft {
namespace lx7 {

constexpr int32_t kKernelRows = 3;
constexpr int32_t kMostTiles = 32;  // between the multiplications and the sink

// A convolution of an image of in_h x in_w x channels to filters of out_h x out_w.
struct WinogradShape {
  int32_t in_h, in_w, channels;
  int32_t out_h, out_w, filters;
  int32_t pad_top, pad_left;  // 0..2
};

// The image's parts lie as [part][tile][row][channel], so that the three rows that an output meets
// are one dot product; the weights' as [part][ky][channel].
struct WinogradLayout {
  int32_t channels;  // rounded up to a multiple of 4; weights' parts are 0 there
  int32_t tiles;     // of a row
  int32_t rows;      // of outputs at a time
  int32_t part;      // elements of a part of the image
};

constexpr int32_t winograd_weight_elements(const WinogradLayout& l) {
  return kPoints * kKernelRows * l.channels;
}

// `extra_bytes` of the scratch are the caller's, behind weights and image. Returns false where the
// direct form is better or needed.
inline bool winograd_layout(const WinogradShape& s, uint64_t scratch_bytes, int32_t extra_bytes,
                            WinogradLayout* layout) {
  WinogradLayout& l = *layout;
  if (s.pad_left < 0 || s.pad_left > 2 || s.in_w < 2 || s.channels < 2) return false;
  l.channels = round_up(s.channels, 4);
  l.tiles = (s.out_w + kTile - 1) / kTile;
  if (2 * l.tiles >= s.out_w || l.tiles > kMostTiles) return false;
  const int64_t left = static_cast<int64_t>(scratch_bytes) - kSlackBytes - extra_bytes -
                       2 * winograd_weight_elements(l);
  const int64_t rows = left / (2 * kPoints * l.tiles * l.channels) - (kKernelRows - 1);
  if (rows < 1) return false;
  const int32_t most = kMostTiles / l.tiles;
  const int32_t fit = rows < most ? static_cast<int32_t>(rows) : most;
  const int32_t portions = (s.out_h + fit - 1) / fit;
  l.rows = (s.out_h + portions - 1) / portions;
  if (l.rows * s.out_w < 16) return false;  // too few for the weights' transformation
  l.part = l.tiles * (l.rows + kKernelRows - 1) * l.channels;
  return true;
}

// The weights' parts of one kernel row and channel, `part` elements apart.
inline __attribute__((always_inline)) void transform_weights(int32_t w0, int32_t w1, int32_t w2,
                                                             int32_t part, int16_t* to) {
  int32_t ends;
  int32_t t;
  asm volatile(
      "s16i %[w0], %[to], 0\n\t"
      "add %[ends], %[w0], %[w2]\n\t"
      "add %[to], %[to], %[part]\n\t"
      "add %[t], %[ends], %[w1]\n\t"
      "s16i %[t], %[to], 0\n\t"
      "sub %[t], %[ends], %[w1]\n\t"
      "add %[to], %[to], %[part]\n\t"
      "addx4 %[ends], %[w2], %[w0]\n\t"
      "s16i %[t], %[to], 0\n\t"
      "addx2 %[t], %[w1], %[ends]\n\t"
      "add %[to], %[to], %[part]\n\t"
      "s16i %[t], %[to], 0\n\t"
      "subx2 %[t], %[w1], %[ends]\n\t"
      "add %[to], %[to], %[part]\n\t"
      "s16i %[t], %[to], 0\n\t"
      "add %[to], %[to], %[part]\n\t"
      "s16i %[w2], %[to], 0\n"
      : [to] "+r"(to), [ends] "=&r"(ends), [t] "=&r"(t)
      : [w0] "r"(w0), [w1] "r"(w1), [w2] "r"(w2), [part] "r"(2 * part)
      : "memory");
}

// out[tile][row] = dot products of 4 * quads elements of a part of the image with w.
inline void dot_grid(const WinogradLayout& l, const int16_t* image, const int16_t* weights,
                     int32_t rows, int32_t* out) {
  const int16_t* x = image - 2;  // ldinc adds before it loads
  const int16_t* const w = weights - 2;
  const int32_t step = 2 * l.channels;
  const int32_t gap = (l.rows + kKernelRows - 1 - rows) * step;
  int32_t tiles = l.tiles;
  int32_t row;
  const int16_t* tx;
  const int16_t* tw;
  int32_t t;
  asm volatile(
      "1:\n\t"
      "mov %[row], %[rows]\n"
      "2:\n\t"
      "movi %[t], 0\n\t"
      "mov %[tx], %[x]\n\t"
      "mov %[tw], %[w]\n\t"
      "wsr.acclo %[t]\n\t"
      "ldinc m2, %[tw]\n\t"
      "ldinc m0, %[tx]\n\t"
      "ldinc m1, %[tx]\n\t"  //
      TBFT_LX7_QUADS("3")
      "add %[x], %[x], %[step]\n\t"
      "rsr.acclo %[t]\n\t"
      "addi %[row], %[row], -1\n\t"
      "s32i %[t], %[out], 0\n\t"
      "addi %[out], %[out], 4\n\t"
      "bnez %[row], 2b\n\t"
      "add %[x], %[x], %[gap]\n\t"
      "addi %[tiles], %[tiles], -1\n\t"
      "bnez %[tiles], 1b\n"
      : [x] "+r"(x), [out] "+r"(out), [tiles] "+r"(tiles), [row] "=&r"(row), [tx] "=&r"(tx),
        [tw] "=&r"(tw), [t] "=&r"(t)
      : [w] "r"(w), [step] "r"(step), [gap] "r"(gap), [rows] "r"(rows),
        [quads] "r"(kKernelRows * l.channels / 4)
      : "memory");
}

// to[row][4 * tile + k] = output k of the tile, plus `start`; m is [part][tile][row].
__attribute__((noinline)) inline void finish_tiles(const int32_t* m, int32_t tiles, int32_t rows,
                                                   int32_t start, int32_t* to) {
  const int32_t n = tiles * rows;
  const auto wrap = [](int32_t value) { return static_cast<uint32_t>(value); };
  const uint32_t add = wrap(start);
  for (int32_t tile = 0; tile < tiles; ++tile, to += kTile) {
    int32_t* y = to;
    for (int32_t row = 0; row < rows; ++row, ++m, y += tiles * kTile) {
      const int32_t* p = m;
      const uint32_t m0 = wrap(*p);
      const uint32_t m1 = wrap(*(p += n));
      const uint32_t m2 = wrap(*(p += n));
      const uint32_t m3 = wrap(*(p += n));
      const uint32_t m4 = wrap(*(p += n));
      const uint32_t m5 = wrap(*(p += n));
      const uint32_t even = m1 - m2;
      const uint32_t odd = m1 + m2;
      const uint32_t even_2 = m3 + m4;
      const uint32_t odd_2 = m3 - m4;
      const auto shifted = [](uint32_t value, int32_t bits) {
        return static_cast<uint32_t>(static_cast<int32_t>(value) >> bits);
      };
      const uint32_t y0 = shifted((6 * m0 + 4 * even + even_2) * kInverseOf3, 3);
      const uint32_t y1 = shifted((2 * odd + odd_2) * kInverseOf3, 2);
      const uint32_t y2 = shifted((even + even_2) * kInverseOf3, 1);
      const uint32_t y3 = shifted((odd + 2 * odd_2) * kInverseOf3, 1) - m5;
      y[0] = static_cast<int32_t>(y0 + add);
      y[1] = static_cast<int32_t>(y1 + add);
      y[2] = static_cast<int32_t>(y2 + add);
      y[3] = static_cast<int32_t>(y3 + add);
    }
  }
}

inline void fill_row(const WinogradLayout& l, int16_t* to) {
  const int32_t step = (l.rows + kKernelRows - 1) * l.channels;
  for (int32_t k = kPoints * l.tiles; k > 0; --k, to += step) fill_zero(l.channels, to);
}

// Moves the last rows of every part to its front.
inline void keep_rows(const WinogradLayout& l, int32_t first, int32_t count, int16_t* image) {
  const int32_t step = (l.rows + kKernelRows - 1) * l.channels;
  for (int32_t k = kPoints * l.tiles; k > 0; --k, image += step) {
    move_down(image + first * l.channels, count * l.channels, image);
  }
}

// What differs between the two convolutions:
//   source(iy)       an image row in int8, in place until the next call
//   order(c)         channel c's place in the parts: c, or quad_order(c)
//   weights(f, to)   writes the parts of filter f in that order
//   start(f)         is added to its outputs
//   sink(f, row, count, pitch, sums)   takes `count` rows of outputs, `pitch` sums apart
template <typename Source, typename Order, typename Weights, typename Start, typename Sink>
void winograd_convolve(const WinogradShape& s, const WinogradLayout& l, int32_t zero_point,
                       int16_t* scratch, Source source, Order order, Weights weights, Start start,
                       Sink sink) {
  int16_t* const parts = scratch;
  int16_t* const image = scratch + winograd_weight_elements(l);
  const int32_t image_rows = l.rows + kKernelRows - 1;
  const InputRows in = input_rows(s.in_w, s.channels, s.pad_left, zero_point, l.tiles, l.part,
                                  image_rows * l.channels, l.channels);
  int32_t held = 0;  // image rows that are in place already
  for (int32_t oy = 0; oy < s.out_h; oy += l.rows) {
    for (int32_t r = held; r < image_rows; ++r) {
      const int32_t iy = oy - s.pad_top + r;
      int16_t* const to = image + r * l.channels;
      if (iy < 0 || iy >= s.in_h) {
        fill_row(l, to);
      } else {
        const int8_t* const from = source(iy);
        for (int32_t c = 0; c < s.channels; ++c) transform_rows(in, from + c, 1, to + order(c));
      }
    }
    const int32_t rows = s.out_h - oy < l.rows ? s.out_h - oy : l.rows;
    for (int32_t filter = 0; filter < s.filters; ++filter) {
      int32_t m[kPoints * kMostTiles];
      int32_t sums[kTile * kMostTiles];
      weights(filter, parts);
      for (int32_t j = 0; j < kPoints; ++j) {
        dot_grid(l, image + j * l.part, parts + j * kKernelRows * l.channels, rows,
                 m + j * l.tiles * rows);
      }
      finish_tiles(m, l.tiles, rows, start(filter), sums);
      sink(filter, oy, rows, kTile * l.tiles, sums);
    }
    held = kKernelRows - 1;
    keep_rows(l, l.rows, held, image);
  }
}

}  // namespace lx7
}  // namespace tbft

#endif  // TBFT_KERNELS_LX7
