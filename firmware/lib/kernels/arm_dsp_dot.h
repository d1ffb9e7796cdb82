// The inner loops: dot products of two rows of weights with two windows, four sums at a time.
#pragma once

#include "kernels/arm_dsp.h"

#if TBFT_KERNELS_ARM_DSP

namespace tbft {
namespace arm {

// a, b: first and second row of weights; 0, 1: first and second window.
struct FourSums {
  int32_t a0, a1, b0, b1;
};

// Several runs of x (blocks) against the same w: each block is `points` dot products of consecutive
// runs.
struct PointRuns {
  int32_t chunks;        // of 48, 32, 16 or 4 products for each sum, at least 1
  int32_t x_skip_bytes;  // between the end of one run of x and the start of the next
  int32_t block_bytes;   // points * sizeof(FourSums)
  int32_t blocks;        // at least 1
};

// sums [blocks][points]. x[block]: where the block's runs start. Both x and w hold words of two
// int16, the two rows or windows in turn: w a, b, a, b ... and x 0, 1, 0, 1 ...; 10 instructions
// for 16 products.
extern "C" void tbft_arm_dot_points_48(const uint32_t* const* x, const uint32_t* w, FourSums* sums,
                                       const PointRuns* runs);
extern "C" void tbft_arm_dot_points_32(const uint32_t* const* x, const uint32_t* w, FourSums* sums,
                                       const PointRuns* runs);
extern "C" void tbft_arm_dot_points_16(const uint32_t* const* x, const uint32_t* w, FourSums* sums,
                                       const PointRuns* runs);
extern "C" void tbft_arm_dot_points_4(const uint32_t* const* x, const uint32_t* w, FourSums* sums,
                                      const PointRuns* runs);

using DotPoints = void (*)(const uint32_t* const* x, const uint32_t* w, FourSums* sums,
                           const PointRuns* runs);

// Windows of several kernel rows, each one run.
struct WindowRuns {
  int32_t rows;        // at least 1
  int32_t chunks;      // of 16 (dot_windows_16) or 4 products for each sum and row, at least 1
  int32_t skip_bytes;  // between the end of a run of x and its next row
  const uint32_t* w;   // as above, of all rows
  int32_t start_a;
  int32_t start_b;
};

// x0, x1: the two windows, aligned to words; 11 instructions for 16 products.
extern "C" void tbft_arm_dot_windows_16(const int16_t* x0, const int16_t* x1,
                                        const WindowRuns* runs, FourSums* sums);
extern "C" void tbft_arm_dot_windows_4(const int16_t* x0, const int16_t* x1, const WindowRuns* runs,
                                       FourSums* sums);
// For any channel count: chunks of 2 products, windows at any int16. Of an odd run the last weights
// are 0, and one value behind the window is read.
extern "C" void tbft_arm_dot_windows_2(const int16_t* x0, const int16_t* x1, const WindowRuns* runs,
                                       FourSums* sums);

using DotWindows = void (*)(const int16_t* x0, const int16_t* x1, const WindowRuns* runs,
                            FourSums* sums);

// The four sums of two output channels for `pixels` neighbouring outputs, two at a time: sink(at,
// sums, both) gets those of pixels at and, if both, at + 1. x: first window; pitch: from one kernel
// row to the next; step: from one pixel's window to the next one's; all in values. w: the two
// channels' weights of all kernel rows. quads: all of these are multiples of 4.
template <typename Sink>
inline void dot_rows(const int16_t* x, int32_t pitch, int32_t kernel_rows, int32_t run,
                     int32_t step, int32_t pixels, bool quads, const uint32_t* w, int32_t start_a,
                     int32_t start_b, Sink&& sink) {
  const int32_t chunk = !quads ? 2 : (run % 16 == 0 ? 16 : 4);
  const DotWindows dot = !quads ? tbft_arm_dot_windows_2
                                : (chunk == 16 ? tbft_arm_dot_windows_16 : tbft_arm_dot_windows_4);
  const int32_t chunks = (run + chunk - 1) / chunk;
  const WindowRuns runs = {kernel_rows, chunks, 2 * (pitch - chunks * chunk), w, start_a, start_b};
  for (int32_t at = 0; at < pixels; at += 2, x += 2 * step) {
    const bool both = at + 1 < pixels;
    FourSums sums;
    dot(x, both ? x + step : x, &runs, &sums);
    sink(at, sums, both);
  }
}

// A window of padded rows that moves down an image: at most `capacity` of them are held.
class SlidingRows {
 public:
  SlidingRows(int16_t* rows, int32_t pitch, int32_t capacity)
      : rows_(rows), pitch_(pitch), capacity_(capacity) {}

  // Rows first .. first + n - 1, one below the other; n <= capacity, first never less than before
  // (once a row had to be given up). fill(row, to) writes the pitch int16 of a row.
  template <typename Fill>
  const int16_t* get(int32_t first, int32_t n, const Fill& fill) {
    if (first + n > first_ + capacity_) {
      const int32_t kept = end_ > first ? end_ - first : 0;
      copy_words_down(reinterpret_cast<const uint32_t*>(rows_ + (first - first_) * pitch_),
                      kept * pitch_ / 2, reinterpret_cast<uint32_t*>(rows_));
      first_ = first;
      end_ = first + kept;
    }
    for (; end_ < first + n; ++end_) fill(end_, rows_ + (end_ - first_) * pitch_);
    return rows_ + (first - first_) * pitch_;
  }

  // From the first row again.
  void restart() {
    first_ = 0;
    end_ = 0;
  }

 private:
  int16_t* rows_;
  int32_t pitch_;
  int32_t capacity_;
  int32_t first_ = 0;
  int32_t end_ = 0;
};

}  // namespace arm
}  // namespace tbft

#endif  // TBFT_KERNELS_ARM_DSP
