// Winograd's F(4, 3) along the width for RV32IMC: six products for four outputs of a three-tap row
// instead of twelve, exact in integers.
//
// With polynomial values at 0, 1, -1, 2, -2 and infinity, a tile of six inputs d and three weights
// g become six numbers each; the products m[p] are summed over kernel rows and channels, and four
// outputs follow from the six sums. The customary divisions by 4, 6 and 24 in the weights' part are
// left to the outputs' part, where they are exact: a factor 3 divides by its inverse modulo 2^32, a
// power of two by a shift. Everything wraps at 2^32, so only the outputs' range matters: |y| <
// 2^28. Ranges of the parts: inputs of magnitude v give 10 v, weights 7 v, four errors 15 v.
#pragma once

#include <cstdint>

#include "kernels/block_rv32.h"

namespace tbft::rv32 {

constexpr int32_t kPoints = 6;
constexpr int32_t kTile = 4;        // outputs along the width
constexpr int32_t kTileInputs = 6;  // inputs they see
constexpr int32_t kTaps = 3;
constexpr int32_t kWinogradLimit = 1 << 28;

constexpr uint32_t kThird = 0xaaaaaaabU;  // 1 / 3 modulo 2^32

// A sum as an int16. Without the empty assembly GCC computes in 16 bits and extends every term.
inline int16_t as_int16(int32_t sum) {
  asm("" : "+r"(sum));
  return static_cast<int16_t>(sum);
}

// Writes the six numbers of a tile to to[0], to[step], ... zero_sum is 6 zero points: the
// coefficients of every other number add up to 0.
template <int32_t kStep>
inline void transform_inputs(int32_t d0, int32_t d1, int32_t d2, int32_t d3, int32_t d4, int32_t d5,
                             int32_t zero_sum, int16_t* to) {
  const int32_t a = d4 - 4 * d2;
  const int32_t b = d3 - 4 * d1;
  const int32_t c = d4 - d2;
  const int32_t e = 2 * (d3 - d1);
  to[0 * kStep] = as_int16(4 * (d0 - d2) + c);
  to[1 * kStep] = as_int16(a + b + zero_sum);
  to[2 * kStep] = as_int16(a - b);
  to[3 * kStep] = as_int16(c + e);
  to[4 * kStep] = as_int16(c - e);
  to[5 * kStep] = as_int16(d5 - d3 - 2 * e);
}

template <int32_t kStep>
inline void transform_weights(int32_t g0, int32_t g1, int32_t g2, int16_t* to) {
  const int32_t even = g0 + g2;
  const int32_t far_even = g0 + 4 * g2;
  const int32_t far_odd = 2 * g1;
  to[0 * kStep] = as_int16(g0);
  to[1 * kStep] = as_int16(even + g1);
  to[2 * kStep] = as_int16(even - g1);
  to[3 * kStep] = as_int16(far_even + far_odd);
  to[4 * kStep] = as_int16(far_even - far_odd);
  to[5 * kStep] = as_int16(g2);
}

template <int32_t kStep>
inline void transform_errors(int32_t e0, int32_t e1, int32_t e2, int32_t e3, int16_t* to) {
  const int32_t even = e0 + e2;
  const int32_t odd = e1 + e3;
  const int32_t far_even = e0 + 4 * e2;
  const int32_t far_odd = 2 * (e1 + 4 * e3);
  to[0 * kStep] = as_int16(e0);
  to[1 * kStep] = as_int16(even + odd);
  to[2 * kStep] = as_int16(even - odd);
  to[3 * kStep] = as_int16(far_even + far_odd);
  to[4 * kStep] = as_int16(far_even - far_odd);
  to[5 * kStep] = as_int16(e3);
}

// The six sums of one output row's tile, taken apart for the output parts; m[p] at m[p * step].
struct PointSums {
  uint32_t zero, far, a, b, c, d;
};
template <int32_t kStep>
inline PointSums point_sums(const int32_t* m) {
  const uint32_t m1 = static_cast<uint32_t>(m[1 * kStep]);
  const uint32_t m2 = static_cast<uint32_t>(m[2 * kStep]);
  const uint32_t m3 = static_cast<uint32_t>(m[3 * kStep]);
  const uint32_t m4 = static_cast<uint32_t>(m[4 * kStep]);
  return {static_cast<uint32_t>(m[0]),
          static_cast<uint32_t>(m[5 * kStep]),
          m1 + m2,
          m3 + m4,
          m1 - m2,
          m3 - m4};
}
// Eight times output 0.
inline int32_t first_output_times_eight(const PointSums& s) {
  return static_cast<int32_t>(((3 * s.zero - 2 * s.a) * 2 + s.b) * kThird);
}

// Four outputs, times 4, from six sums.
template <int32_t kStep>
inline void outputs_times_four(const int32_t* m, int32_t* y) {
  const PointSums s = point_sums<kStep>(m);
  y[0] = first_output_times_eight(s) >> 1;
  y[1] = static_cast<int32_t>((s.d - 2 * s.c) * kThird);
  y[2] = static_cast<int32_t>((s.b - s.a) * 2 * kThird);
  y[3] = static_cast<int32_t>((2 * s.d - s.c) * 2 * kThird + 4 * s.far);
}

// Three outputs of F(3, 4), the form for weight gradients: three taps from tiles of four errors.
template <int32_t kStep>
inline void taps_of(const int32_t* m, int32_t* y) {
  const PointSums s = point_sums<kStep>(m);
  y[0] = first_output_times_eight(s) >> 3;
  y[1] = static_cast<int32_t>((s.d - 2 * s.c) * kThird) >> 2;
  y[2] = (static_cast<int32_t>((s.b - s.a) * kThird) >> 1) + static_cast<int32_t>(s.far);
}

// Calls write(tile, d) for the tiles of an input row, d[0..5] the tile's inputs: pointers to
// channels numbers each, outside for those left or right of the row.
template <typename Element, typename Write>
void for_each_tile(const Element* row, int32_t width, int32_t channels, int32_t pad_left,
                   const Element* outside, int32_t tiles, Write write) {
  for (int32_t t = 0; t < tiles; ++t) {
    const int32_t first = kTile * t - pad_left;
    const Element* d[kTileInputs];
    for (int32_t j = 0; j < kTileInputs; ++j) {
      const bool inside = first + j >= 0 && first + j < width;
      d[j] = inside ? row + (first + j) * channels : outside;
    }
    write(t, d);
  }
}

// A 3 x 3 convolution of stride 1, in chunks of output rows. Inputs' parts lie in a ring as
// [row][pair of tiles][channel][point][tile of the pair], weights' parts of four filters as
// [kernel row][channel][point][filter].
class Winograd {
 public:
  struct Shape {
    int32_t in_h, out_h, out_w;
    int32_t channels;  // summed over
    int32_t filters;   // computed
    int32_t pad_top;
  };

  // False where the scratch does not hold enough rows to pay for the weights' parts.
  bool init(const Shape& shape, void* scratch, uint64_t scratch_bytes) {
    shape_ = shape;
    tiles_ = 2 * ((shape.out_w + 2 * kTile - 1) / (2 * kTile));
    pair_ = 2 * kPoints * shape.channels;
    pitch_ = tiles_ / 2 * pair_;
    // All of the weights at a time, or one kernel row and the unfinished sums of the chunk.
    constexpr int32_t kWorth = 32;  // outputs for which a filter's parts are made
    kernel_rows_ = kTaps;
    rows_ = rows_within(scratch_bytes);
    if (rows_ < shape.out_h && rows_ * shape.out_w < 2 * kWorth) {
      const int32_t whole = rows_;
      kernel_rows_ = 1;
      rows_ = rows_within(scratch_bytes);
      if (rows_ <= whole) {
        kernel_rows_ = kTaps;
        rows_ = whole;
      }
    }
    if (rows_ < 1 || (rows_ < shape.out_h && rows_ * shape.out_w < kWorth)) return false;
    // Chunks of equal height.
    const int32_t chunks = (shape.out_h + rows_ - 1) / rows_;
    rows_ = (shape.out_h + chunks - 1) / chunks;
    inputs_ = static_cast<int16_t*>(scratch);
    weights_ = inputs_ + (rows_ + kTaps - 1) * pitch_;
    sums_ = reinterpret_cast<BlockSums*>(weights_ + kernel_rows_ * 4 * kPoints * shape.channels);
    return true;
  }

  int32_t tiles() const { return tiles_; }
  // Elements of a pair of tiles.
  int32_t pair() const { return pair_; }
  // A place for at least 12 numbers a channel, free while input rows are transformed.
  int16_t* free_room() const { return weights_; }

  // input(iy, to): the parts of input row iy, inside the input; weights(filter, ky, count, to);
  // output(filter, row, tile, sums): a pair of tiles' sums, [point][16], tile * 4 + filter.
  template <typename Input, typename Weights, typename Output>
  void run(Input input, Weights weights, Output output) {
    int32_t next_input = -shape_.pad_top;
    for (int32_t row = 0; row < shape_.out_h; row += rows_) {
      const int32_t rows = shape_.out_h - row < rows_ ? shape_.out_h - row : rows_;
      for (; next_input < row + rows + kTaps - 1 - shape_.pad_top; ++next_input) {
        int16_t* const to = ring_row(next_input);
        if (next_input >= 0 && next_input < shape_.in_h) {
          input(next_input, to);
        } else {
          fill_zero(to, pitch_);
        }
      }
      for (int32_t filter = 0; filter < shape_.filters; filter += 4) {
        for (int32_t ky = 0; ky < kTaps; ky += kernel_rows_) {
          weights(filter, ky, kernel_rows_, weights_);
          multiply(row, rows, filter, ky, output);
        }
      }
    }
  }

 private:
  using BlockSums = int32_t[kPoints * 16];

  // The largest chunk of output rows that fits.
  int32_t rows_within(uint64_t bytes) const {
    const uint64_t pitch = static_cast<uint64_t>(pitch_);
    const uint64_t kernel_rows = static_cast<uint64_t>(kernel_rows_);
    const uint64_t weights = kernel_rows * 8 * kPoints * static_cast<uint64_t>(shape_.channels);
    int32_t rows = shape_.out_h;
    for (; rows > 0; --rows) {
      const uint64_t pairs = static_cast<uint64_t>(rows) * static_cast<uint64_t>(tiles_ / 2);
      const uint64_t sums = kernel_rows_ == kTaps ? 0 : (pairs + 1) / 2 * sizeof(BlockSums);
      if ((static_cast<uint64_t>(rows) + kTaps - 1) * pitch * 2 + weights + sums <= bytes) break;
    }
    return rows;
  }

  int16_t* ring_row(int32_t iy) const {
    return inputs_ + (iy + shape_.pad_top) % (rows_ + kTaps - 1) * pitch_;
  }

  // The pointers of a pair of tiles for the kernel rows of a chunk of weights.
  void fill_runs(int32_t row, int32_t pair, int32_t ky, const int16_t** runs) const {
    for (int32_t k = 0; k < kernel_rows_; ++k) {
      runs[2 * k] = ring_row(row + ky + k - shape_.pad_top) + pair * pair_;
    }
  }

  template <typename Output>
  void multiply(int32_t row, int32_t rows, int32_t filter, int32_t ky, Output output) {
    BlockSums local;
    const int32_t pairs = tiles_ / 2;
    const int32_t count = rows * pairs;
    int32_t r = row;
    int32_t pair = 0;
    for (int32_t first = 0; first < count; first += 2) {
      int32_t* const sums = kernel_rows_ == kTaps ? local : sums_[first / 2];
      const int32_t this_row = r;
      const int32_t this_pair = pair;
      const int16_t* runs[2 * kTaps];
      fill_runs(r, pair, ky, runs);
      if (++pair == pairs) {
        pair = 0;
        ++r;
      }
      const int32_t second_row = r;
      const int32_t second_pair = pair;
      const bool second = first + 1 < count;
      if (second) {
        fill_runs(r, pair, ky, runs + 1);
        if (++pair == pairs) {
          pair = 0;
          ++r;
        }
      } else {
        fill_runs(this_row, this_pair, ky, runs + 1);
      }
      BlockArgs args = {};
      args.runs = runs;
      args.run_count = kernel_rows_;
      args.w = weights_;
      args.set_steps(shape_.channels, 8 * kPoints);
      args.sums = sums;
      args.accumulate = ky;
      args.points = kPoints;
      winograd_block(&args);
      if (ky + kernel_rows_ < kTaps) continue;
      output(filter, this_row, 2 * this_pair, sums);
      if (second) output(filter, second_row, 2 * second_pair, sums + 8);
    }
  }

  Shape shape_;
  int32_t tiles_;        // of a row, even
  int32_t pair_;         // elements of a pair of tiles
  int32_t pitch_;        // elements of a row
  int32_t rows_;         // output rows of a chunk
  int32_t kernel_rows_;  // whose weights are held at a time: all or 1
  int16_t* inputs_;
  int16_t* weights_;
  BlockSums* sums_;
};

}  // namespace tbft::rv32
