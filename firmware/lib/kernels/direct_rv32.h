// Direct convolution for RV32IMC, for shapes that Winograd's form does not take: any kernel, any
// stride.
//
// Inputs lie in a ring of rows as [pair of outputs][kernel column][channel][output of the pair],
// what each pair meets in one run; weights of four filters as [kernel row][kernel column][channel]
// [filter]. Blocks are two pairs of outputs by four filters.
#pragma once

#include <cstdint>

#include "kernels/block_rv32.h"

namespace tbft::rv32 {

class Direct {
 public:
  struct Shape {
    int32_t in_h;
    int32_t out_h, out_w;
    int32_t kernel_h, kernel_w;
    int32_t stride_h;
    int32_t first_row;  // input row that output row 0 meets with kernel row 0; may be outside
    int32_t channels;   // summed over
    int32_t filters;    // computed
  };

  // False where the scratch holds too few rows.
  bool init(const Shape& shape, void* scratch, uint64_t scratch_bytes) {
    shape_ = shape;
    pairs_ = (shape.out_w + 1) / 2;
    pair_ = 2 * shape.kernel_w * shape.channels;
    pitch_ = pairs_ * pair_;
    const int64_t weight_bytes = int64_t{8} * shape.kernel_h * shape.kernel_w * shape.channels;
    const int64_t fit = (static_cast<int64_t>(scratch_bytes) - weight_bytes) / (2 * pitch_);
    if (fit < shape.kernel_h || shape.kernel_h > kMostRuns) return false;
    const int64_t rows = (fit - shape.kernel_h) / shape.stride_h + 1;
    rows_ = rows < shape.out_h ? static_cast<int32_t>(rows) : shape.out_h;
    ring_rows_ = (rows_ - 1) * shape.stride_h + shape.kernel_h;
    // Between chunks rows may be skipped (a stride larger than the kernel), so the ring has no
    // more.
    inputs_ = static_cast<int16_t*>(scratch);
    weights_ = inputs_ + ring_rows_ * pitch_;
    return true;
  }

  // input(row, to): input row packed; weights(filter, to); output(filter, row, x, count, sums): the
  // sums of count outputs from (row, x) on, sums[4 * output + filter].
  template <typename Input, typename Weights, typename Output>
  void run(Input input, Weights weights, Output output) {
    int32_t next_input = 0;  // counted from first_row
    for (int32_t row = 0; row < shape_.out_h; row += rows_) {
      const int32_t rows = shape_.out_h - row < rows_ ? shape_.out_h - row : rows_;
      const int32_t needed = row * shape_.stride_h;
      if (next_input < needed) next_input = needed;
      for (; next_input < needed + (rows - 1) * shape_.stride_h + shape_.kernel_h; ++next_input) {
        const int32_t iy = next_input + shape_.first_row;
        int16_t* const to = ring_row(next_input);
        if (iy >= 0 && iy < shape_.in_h) {
          input(iy, to);
        } else {
          fill_zero(to, pitch_);
        }
      }
      for (int32_t filter = 0; filter < shape_.filters; filter += 4) {
        weights(filter, weights_);
        for (int32_t r = row; r < row + rows; ++r) multiply_row(r, filter, output);
      }
    }
  }

 private:
  static constexpr int32_t kMostRuns = 16;

  int16_t* ring_row(int32_t number) const { return inputs_ + number % ring_rows_ * pitch_; }

  template <typename Output>
  void multiply_row(int32_t row, int32_t filter, Output output) const {
    const int32_t steps = shape_.kernel_w * shape_.channels;
    for (int32_t pair = 0; pair < pairs_; pair += 2) {
      int32_t sums[16];
      const int16_t* runs[2 * kMostRuns];
      const int32_t second = pair + 1 < pairs_ ? pair_ : 0;
      for (int32_t ky = 0; ky < shape_.kernel_h; ++ky) {
        runs[2 * ky] = ring_row(row * shape_.stride_h + ky) + pair * pair_;
        runs[2 * ky + 1] = runs[2 * ky] + second;
      }
      BlockArgs args = {};
      args.runs = runs;
      args.run_count = shape_.kernel_h;
      args.w = weights_;
      args.set_steps(steps, 8);
      args.sums = sums;
      args.points = 1;
      direct_block(&args);
      const int32_t left = shape_.out_w - 2 * pair;
      output(filter, row, 2 * pair, left < 4 ? left : 4, sums);
    }
  }

  Shape shape_;
  int32_t pairs_;  // of outputs in a row
  int32_t pair_;   // elements of a pair
  int32_t pitch_;  // elements of a row
  int32_t rows_;   // output rows of a chunk
  int32_t ring_rows_;
  int16_t* inputs_;
  int16_t* weights_;
};

// Packs a row of width pixels of channels numbers for outputs that meet, with kernel column kx,
// pixel x * stride + kx + first; convert(element) is what is multiplied.
template <typename Element, typename Convert>
void pack_direct_row(const Element* row, int32_t width, int32_t channels, int32_t first,
                     int32_t stride, int32_t kernel_w, int32_t outputs, Convert convert,
                     int16_t* to) {
  for (int32_t x = 0; x < ((outputs + 1) & ~1); ++x) {
    int16_t* out = to + (x >> 1) * 2 * kernel_w * channels + (x & 1);
    for (int32_t kx = 0; kx < kernel_w; ++kx, out += 2 * channels) {
      const int32_t at = x * stride + kx + first;
      if (at < 0 || at >= width) {
        for (int32_t i = 0; i < channels; ++i) out[2 * i] = 0;
      } else {
        const Element* const from = row + at * channels;
        for (int32_t i = 0; i < channels; ++i) out[2 * i] = static_cast<int16_t>(convert(from[i]));
      }
    }
  }
}

}  // namespace tbft::rv32
