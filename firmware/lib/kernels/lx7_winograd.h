// The transformation of inputs to the Toom-Cook (Winograd) algorithm of three taps: six inputs d to
// the parts
//
//     D = (4d0-5d2+d4, 4d1+4d2-d3-d4, 4d1-4d2-d3+d4, -2d1-d2+2d3+d4, -2d1+d2+2d3-d4, -4d1+5d3-d5)
//
// of a tile, which overlaps the next by two. They are the values of polynomials at 0, 1, -1, 2, -2
// and infinity; the signs are chosen for the fewest instructions. |D| <= 10 * 255.
#pragma once

#include "kernels/conv2d_lx7.h"

#if TBFT_KERNELS_LX7

namespace tbft {
namespace lx7 {

constexpr int32_t kTile = 4;    // inputs from a tile to the next
constexpr int32_t kPoints = 6;  // parts of a tile
constexpr int32_t kTaps = 3;
constexpr uint32_t kInverseOf3 = 0xaaaaaaabU;  // modulo 2^32

// Inputs of one channel of some rows, x pointing at the first row's first pixel. The zero point
// stays in: it changes D[1] alone, by `offset`.
struct InputRows {
  int32_t step;         // from a pixel to the next
  int32_t row_step;     // from a row to the next
  int32_t plane;        // bytes from a part to the next
  int32_t back;         // bytes from a tile's last part to the next tile's first
  int32_t to_row;       // elements from a row of parts to the next
  int32_t zero_point;   // of the padding
  int32_t offset;       // 6 * zero point
  int32_t skipped;      // inputs in front of those that are new to a row's first tile: 0, 1 or 2
  int32_t whole;        // tiles without padding behind
  int32_t whole_bytes;  // from the first of these tiles' inputs to the next ones'
  int32_t others;       // the tiles behind those
  int32_t left;         // inputs of these
};

// Where a row's transformation has got to.
struct InputCursor {
  int32_t d0;
  int32_t d1;
  int16_t* to;
};

// `count` >= 1 tiles whose four new inputs each lie `step` bytes apart, the first at `from`.
inline __attribute__((always_inline)) void transform_tiles(const InputRows& in, const int8_t* from,
                                                           int32_t step, int32_t count,
                                                           InputCursor* cursor) {
  int32_t d2;
  int32_t d3;
  int32_t d4;
  int32_t d5;
  int32_t t = count;
  asm volatile(
      "loop %[t], 1f\n\t"
      "l8ui %[d2], %[from], 0\n\t"
      "add %[from], %[from], %[step]\n\t"
      "l8ui %[d3], %[from], 0\n\t"
      "add %[from], %[from], %[step]\n\t"
      "l8ui %[d4], %[from], 0\n\t"
      "add %[from], %[from], %[step]\n\t"
      "l8ui %[d5], %[from], 0\n\t"
      "add %[from], %[from], %[step]\n\t"
      "sext %[d2], %[d2], 7\n\t"
      "sext %[d3], %[d3], 7\n\t"
      "sext %[d4], %[d4], 7\n\t"
      "sext %[d5], %[d5], 7\n\t"
      "sub %[d0], %[d0], %[d2]\n\t"
      "subx4 %[t], %[d2], %[d4]\n\t"   // 4 d2 - d4
      "sub %[d2], %[d4], %[d2]\n\t"    // d4 - d2
      "addx4 %[d0], %[d0], %[d2]\n\t"  // D[0]
      "s16i %[d0], %[to], 0\n\t"
      "subx4 %[d0], %[d1], %[d3]\n\t"  // 4 d1 - d3
      "add %[to], %[to], %[plane]\n\t"
      "sub %[d0], %[d0], %[t]\n\t"  // D[2]
      "addx2 %[t], %[t], %[d0]\n\t"
      "sub %[t], %[t], %[offset]\n\t"  // D[1]
      "s16i %[t], %[to], 0\n\t"
      "add %[to], %[to], %[plane]\n\t"
      "sub %[d1], %[d3], %[d1]\n\t"  // d3 - d1
      "s16i %[d0], %[to], 0\n\t"
      "addx2 %[t], %[d1], %[d2]\n\t"  // D[3]
      "add %[to], %[to], %[plane]\n\t"
      "sub %[d3], %[d5], %[d3]\n\t"
      "s16i %[t], %[to], 0\n\t"
      "subx2 %[t], %[d1], %[d2]\n\t"  // D[4]
      "add %[to], %[to], %[plane]\n\t"
      "mov %[d0], %[d4]\n\t"
      "s16i %[t], %[to], 0\n\t"
      "subx4 %[t], %[d1], %[d3]\n\t"  // D[5]
      "add %[to], %[to], %[plane]\n\t"
      "mov %[d1], %[d5]\n\t"
      "s16i %[t], %[to], 0\n\t"
      "add %[to], %[to], %[back]\n"
      "1:\n"
      : [from] "+r"(from), [to] "+r"(cursor->to), [d0] "+r"(cursor->d0), [d1] "+r"(cursor->d1),
        [t] "+r"(t), [d2] "=&r"(d2), [d3] "=&r"(d3), [d4] "=&r"(d4), [d5] "=&r"(d5)
      : [step] "r"(step), [plane] "r"(in.plane), [back] "r"(in.back), [offset] "r"(in.offset)
      : "memory");
}

__attribute__((noinline)) inline void transform_rows(const InputRows& in, const int8_t* x,
                                                     int32_t rows, int16_t* to) {
  for (; rows > 0; --rows, x += in.row_step, to += in.to_row) {
    const int8_t* from = x;
    InputCursor cursor;
    cursor.to = to;
    cursor.d0 = in.zero_point;
    cursor.d1 = in.zero_point;
    if (in.skipped > 1) {
      cursor.d0 = *from;
      from += in.step;
    }
    if (in.skipped > 0) {
      cursor.d1 = *from;
      from += in.step;
    }
    if (in.whole > 0) transform_tiles(in, from, in.step, in.whole, &cursor);
    from += in.whole_bytes;
    int32_t left = in.left;
    for (int32_t t = in.others; t > 0; --t, left -= kTile) {
      const int8_t padding = static_cast<int8_t>(in.zero_point);
      int8_t padded[kTile] = {padding, padding, padding, padding};
      if (left > 0) padded[0] = *from;
      if (left > 1) padded[1] = *(from += in.step);
      if (left > 2) padded[2] = *(from += in.step);
      transform_tiles(in, padded, 1, 1, &cursor);
    }
  }
}

// An image of in_w >= 2 pixels of `channels` channels; pad_left is 0, 1 or 2. Parts are `plane`
// elements apart, tiles to_tile and rows to_row.
inline InputRows input_rows(int32_t in_w, int32_t channels, int32_t pad_left, int32_t zero_point,
                            int32_t tiles, int32_t plane, int32_t to_tile, int32_t to_row) {
  const int32_t skipped = 2 - pad_left;
  const int32_t there = in_w - skipped;
  const int32_t whole = there / kTile < tiles ? there / kTile : tiles;
  InputRows in = {};
  in.step = channels;
  in.row_step = in_w * channels;
  in.plane = 2 * plane;
  in.back = 2 * (to_tile - (kPoints - 1) * plane);
  in.to_row = to_row;
  in.zero_point = zero_point;
  in.offset = 6 * zero_point;
  in.skipped = skipped;
  in.whole = whole;
  in.whole_bytes = whole * kTile * channels;
  in.others = tiles - whole;
  in.left = there - whole * kTile;
  return in;
}

}  // namespace lx7
}  // namespace tbft

#endif  // TBFT_KERNELS_LX7
