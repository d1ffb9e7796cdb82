// The convolutions' part of the scratch table of docs/artifact.md.
#include "kernels/conv2d_scratch.h"

#include "kernels/conv2d.h"

namespace tbft {
namespace {

constexpr uint64_t kSlackBytes = 64;
constexpr uint64_t kRows = 4;           // weight rows or gradient rows at a time
constexpr uint64_t kPortableRows = 12;  // the portable input gradient: 8 rows and 4 columns
constexpr uint64_t kWeightRowsOfB = 4;

uint64_t unsigned_of(int32_t n) { return static_cast<uint64_t>(n); }

// Products of one output.
uint64_t row_length(const Conv2dShape& s) {
  return unsigned_of(s.kernel_h) * unsigned_of(s.kernel_w) * unsigned_of(s.in_c);
}

uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

// Rows of height x width outputs that a weight's parts are made for: 64 outputs or all.
uint64_t winograd_rows(int32_t height, int32_t width) {
  const uint64_t rows = (unsigned_of(width) + 63) / unsigned_of(width);
  return rows < unsigned_of(height) ? rows : unsigned_of(height);
}

// Inputs' parts of those rows; weights' parts of four filters and a kernel row; all their sums.
uint64_t winograd_bytes(int32_t channels, int32_t height, int32_t width) {
  const uint64_t rows = winograd_rows(height, width);
  const uint64_t tiles = 2 * ((unsigned_of(width) + 7) / 8);
  return (rows + 2) * tiles * round_up_16(12 * unsigned_of(channels)) + 48 * unsigned_of(channels) +
         96 * rows * tiles + kSlackBytes;
}

// Parts of four channels' errors, and of the inputs that they meet: of all channels where that is
// little, else of four.
uint64_t winograd_gradient_bytes(const Conv2dShape& s) {
  constexpr uint64_t kLittle = 16384;
  const uint64_t rows = winograd_rows(s.out_h, s.out_w);
  const uint64_t tiles = (unsigned_of(s.out_w) + 3) / 4;
  const uint64_t all = 12 * unsigned_of(s.in_c) * (unsigned_of(s.out_h) + 2) * tiles;
  const uint64_t inputs = all <= kLittle ? all : 48 * (rows + 2) * tiles;
  return kRows * round_up_16(4 * row_length(s)) + 48 * rows * tiles + inputs + kSlackBytes;
}

}  // namespace

uint64_t conv2d_s8_fwd_scratch_bytes(const Conv2dShape& s) {
  const uint64_t input_row = round_up_16(2 * padded_width(s) * unsigned_of(s.in_c));
  const uint64_t direct = (unsigned_of(s.kernel_h) + unsigned_of(s.stride_h)) * input_row +
                          kRows * round_up_16(2 * row_length(s)) + kSlackBytes;
  return suits_winograd(s) ? larger(direct, winograd_bytes(s.in_c, s.out_h, s.out_w)) : direct;
}

BwdInputScratch conv2d_s8_bwd_input_scratch(const Conv2dShape& s) {
  const uint64_t kernel_h = unsigned_of(s.kernel_h);
  const uint64_t kernel_w = unsigned_of(s.kernel_w);
  const uint64_t out_c = unsigned_of(s.out_c);
  BwdInputScratch scratch = {};
  const uint64_t errors_wide = bwd_input_extent(s.in_w, s.kernel_w, s.stride_w, s.pad_left);
  scratch.error_rows = bwd_input_extent(s.in_h, s.kernel_h, s.stride_h, s.pad_top);
  scratch.error_row_bytes = round_up_16(2 * errors_wide * out_c);
  scratch.weight_row_bytes = round_up_16(2 * kernel_h * kernel_w * out_c);
  scratch.a_bytes =
      (kernel_h + 1) * scratch.error_row_bytes + unsigned_of(s.in_c) * scratch.weight_row_bytes;
  scratch.b_bytes =
      scratch.error_rows * scratch.error_row_bytes + kWeightRowsOfB * scratch.weight_row_bytes;
  return scratch;
}

uint64_t conv2d_s8_bwd_input_scratch_bytes(const Conv2dShape& s) {
  const BwdInputScratch scratch = conv2d_s8_bwd_input_scratch(s);
  const uint64_t chosen = scratch.is_a() ? scratch.a_bytes : scratch.b_bytes;
  const uint64_t direct = larger(chosen + kSlackBytes, kPortableRows * scratch.weight_row_bytes);
  return suits_winograd(s) ? larger(direct, winograd_bytes(s.out_c, s.in_h, s.in_w)) : direct;
}

uint64_t conv2d_s8_bwd_weight_scratch_bytes(const Conv2dShape& s) {
  const uint64_t error_plane = (unsigned_of(s.out_h) + 1) * (unsigned_of(s.out_w) + 3);
  const uint64_t input_plane = (padded_height(s) + 1) * (padded_width(s) + 3);
  const uint64_t direct = kRows * round_up_16(4 * row_length(s)) +
                          4 * round_up_16(2 * error_plane) + 2 * round_up_16(2 * input_plane) +
                          kSlackBytes;
  return suits_winograd(s) ? larger(direct, winograd_gradient_bytes(s)) : direct;
}

}  // namespace tbft
