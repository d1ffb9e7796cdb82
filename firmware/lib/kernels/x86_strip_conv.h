// The convolution loop shared by the forward pass and the input gradient on x86.
//
// Lanes are eight output channels; input pixels enter as broadcast pairs of int16. The input rows
// that an output row needs are widened into a strip (zero point taken off, padding as zeros) in
// which a kernel row's window is contiguous, so no columns are built. Weights are repacked once per
// call to [block of 8 channels][ky][pair of k][8][2].
#pragma once

#include "kernels/x86_vector.h"

namespace tbft {
namespace x86 {

constexpr int32_t kMaxKernel = 15;
constexpr int32_t kStripElements = 48 * 1024;   // int16; 96 KiB of stack
constexpr int32_t kPackedElements = 64 * 1024;  // int16; 128 KiB of stack
constexpr int kTilePixels = kRegisters == 32 ? 8 : 4;

struct StripGeometry {
  int32_t kernel_h;
  int32_t pixel_step;   // int16 elements from one output pixel's window to the next one's
  int32_t pairs;        // pairs of elements in one kernel row of the window
  int32_t block_pitch;  // int16 elements of one packed block: kernel_h * pairs * 16
};

// kPixels output pixels by kBlocks blocks of channels, over the whole window.
template <int kPixels, int kBlocks, typename Store>
inline __attribute__((always_inline)) void strip_tile(const StripGeometry& geometry,
                                                      const int16_t* const* rows, int32_t offset,
                                                      const int16_t* packed, Store store) {
  __m256i acc[kPixels][kBlocks];
#pragma GCC unroll 8
  for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 2
    for (int b = 0; b < kBlocks; ++b) acc[p][b] = _mm256_setzero_si256();
  }
  const int32_t step = geometry.pixel_step;
  for (int32_t ky = 0; ky < geometry.kernel_h; ++ky) {
    const int16_t* x = rows[ky] + offset;
    for (int32_t k = geometry.pairs; k > 0; --k, x += 2, packed += 16) {
      __m256i w[kBlocks];
#pragma GCC unroll 2
      for (int b = 0; b < kBlocks; ++b) w[b] = load_256(packed + b * geometry.block_pitch);
#pragma GCC unroll 8
      for (int p = 0; p < kPixels; ++p) {
        const __m256i pair = _mm256_set1_epi32(load_dword(x + p * step));
#pragma GCC unroll 2
        for (int b = 0; b < kBlocks; ++b) acc[p][b] = dot_pairs(acc[p][b], pair, w[b]);
      }
    }
  }
#pragma GCC unroll 2
  for (int b = 0; b < kBlocks; ++b) {
#pragma GCC unroll 8
    for (int p = 0; p < kPixels; ++p) store(b, p, acc[p][b]);
  }
}

template <int kPixels, int kBlocks, typename Store>
inline void strip_remainder(int32_t pixels, const StripGeometry& geometry,
                            const int16_t* const* rows, int32_t offset, const int16_t* packed,
                            Store store) {
  if (pixels == kPixels) {
    strip_tile<kPixels, kBlocks>(geometry, rows, offset, packed, store);
  } else if constexpr (kPixels > 1) {
    strip_remainder<kPixels - 1, kBlocks>(pixels, geometry, rows, offset, packed, store);
  }
}

// One output row, kBlocks blocks.
template <int kBlocks, typename Writer>
inline void strip_row(const StripGeometry& geometry, const int16_t* const* rows, int32_t out_w,
                      const int16_t* packed, Writer& writer) {
  int32_t ox = 0;
  for (; ox + kTilePixels <= out_w; ox += kTilePixels) {
    strip_tile<kTilePixels, kBlocks>(
        geometry, rows, ox * geometry.pixel_step, packed,
        [&](int b, int p, __m256i acc) __attribute__((always_inline)) { writer(b, ox + p, acc); });
  }
  if (ox < out_w) {
    strip_remainder<kTilePixels - 1, kBlocks>(
        out_w - ox, geometry, rows, ox * geometry.pixel_step, packed,
        [&](int b, int p, __m256i acc) __attribute__((always_inline)) { writer(b, ox + p, acc); });
  }
}

// int16 elements of a widened row, with one of slack for the last pair of an odd window.
inline int64_t strip_pitch(const Conv2dShape& s) {
  return (int64_t{s.out_w - 1} * s.stride_w + s.kernel_w) * s.in_c + 1;
}

// The widened input rows of the current window; a row is widened once however many windows hold it.
// load(first, n, to) widens elements of the input.
template <typename Load>
class Strip {
 public:
  Strip(const Conv2dShape& s, Load load, int16_t* buffer) : s_(s), load_(load), buffer_(buffer) {
    for (int32_t& row : held_) row = kNone;
  }

  // rows[ky] = start of the window row of output row oy.
  void fill(int32_t oy, const int16_t** rows) {
    for (int32_t ky = 0; ky < s_.kernel_h; ++ky) {
      const int32_t iy = oy * s_.stride_h + ky - s_.pad_top;
      const int32_t slot = (iy + s_.pad_top) % s_.kernel_h;
      int16_t* const row = buffer_ + slot * strip_pitch(s_);
      if (held_[slot] != iy) widen(iy, row);
      held_[slot] = iy;
      rows[ky] = row;
    }
  }

 private:
  static constexpr int32_t kNone = INT32_MIN;

  void widen(int32_t iy, int16_t* row) const {
    const int32_t length = static_cast<int32_t>(strip_pitch(s_));
    const int32_t whole = s_.in_w * s_.in_c;
    // pad_left is negative where an input gradient's first window starts inside the error's row.
    const int32_t start = s_.pad_left * s_.in_c;
    int32_t begin = start > 0 ? start : 0;
    const int32_t skipped = begin - start;
    int32_t count = whole - skipped < length - begin ? whole - skipped : length - begin;
    if (iy < 0 || iy >= s_.in_h || count <= 0) begin = count = 0;
    for (int32_t i = 0; i < begin; ++i) row[i] = 0;
    if (count > 0) load_(iy * whole + skipped, count, row + begin);
    for (int32_t i = begin + count; i < length; ++i) row[i] = 0;
  }

  const Conv2dShape& s_;
  Load load_;
  int16_t* buffer_;
  int32_t held_[kMaxKernel];
};

inline bool strip_fits(const Conv2dShape& s) {
  if (s.kernel_h > kMaxKernel || s.kernel_w > kMaxKernel) return false;
  const int64_t pairs = (int64_t{s.kernel_w} * s.in_c + 1) / 2;
  return s.kernel_h * strip_pitch(s) <= kStripElements &&
         s.kernel_h * pairs * 16 <= kPackedElements;
}

// Rows ascend. pack(block, to) writes the packed weights of output channels 8 * block ... .
// sink.writer(block, count, oy) makes what receives a row's results of one or two blocks, as
// writer(block - first, ox, accumulators); it is a value of its own so that its state stays in
// registers. sink.done(writer) follows.
template <typename Load, typename Pack, typename Sink>
inline void strip_conv(const Conv2dShape& s, Load load, Pack pack, Sink& sink) {
  alignas(64) int16_t packed[kPackedElements];
  alignas(64) int16_t strip_buffer[kStripElements];
  const int32_t pairs = (s.kernel_w * s.in_c + 1) / 2;
  const StripGeometry geometry = {s.kernel_h, s.stride_w * s.in_c, pairs, s.kernel_h * pairs * 16};
  const int32_t blocks = (s.out_c + 7) / 8;
  const int32_t room = kPackedElements / geometry.block_pitch;
  const int32_t group = room < blocks ? room : blocks;
  Strip<Load> strip(s, load, strip_buffer);
  const int16_t* rows[kMaxKernel];
  for (int32_t oy = 0; oy < s.out_h; ++oy) {
    strip.fill(oy, rows);
    for (int32_t first = 0; first < blocks; first += group) {
      const int32_t count = blocks - first < group ? blocks - first : group;
      if (oy == 0 || group < blocks) {
        for (int32_t b = 0; b < count; ++b) pack(first + b, packed + b * geometry.block_pitch);
      }
      int32_t b = 0;
      for (; b + 2 <= count; b += 2) {
        auto writer = sink.writer(first + b, 2, oy);
        strip_row<2>(geometry, rows, s.out_w, packed + b * geometry.block_pitch, writer);
        sink.done(writer);
      }
      if (b < count) {
        auto writer = sink.writer(first + b, 1, oy);
        strip_row<1>(geometry, rows, s.out_w, packed + b * geometry.block_pitch, writer);
        sink.done(writer);
      }
    }
  }
}

}  // namespace x86
}  // namespace tbft
