// Weight gradient on RV32IMC.
#include "kernels/dispatch.h"

#if TBFT_KERNELS_RV32

#include "kernels/error_read.h"
#include "kernels/winograd_rv32.h"

namespace tbft {
namespace {

using rv32::kPoints;
using rv32::kTaps;
using rv32::kTile;

constexpr int32_t kRows = 4;                // gradient rows (output channels) at a time
constexpr int32_t kBlock = 4;               // input channels at a time
constexpr int32_t kTilePart = 4 * kPoints;  // elements of a tile's part: [point][channel]

// F(3, 4) along the width: a tile is four errors and the six inputs that they meet under three
// taps. Products are summed over all tiles of a chunk of output rows before the taps are formed.
class WinogradGradient {
 public:
  bool init(const Conv2dShape& s, const ErrorView& e_y, const int8_t* x, int32_t zero_point,
            void* scratch) {
    if (s.kernel_h != 3 || s.kernel_w != 3 || s.stride_h != 1 || s.stride_w != 1) return false;
    s_ = &s;
    x_ = x;
    zero_point_ = zero_point;
    tiles_ = (s.out_w + kTile - 1) / kTile;
    blocks_ = (s.in_c + kBlock - 1) / kBlock;
    length_ = 9 * s.in_c;
    pitch_ = static_cast<int32_t>(round_up_16(4 * static_cast<uint64_t>(length_)) / 4);
    int64_t bytes = static_cast<int64_t>(conv2d_s8_bwd_weight_scratch_bytes(s));
    bytes -= int64_t{4} * kRows * pitch_;
    const int64_t row_bytes = int64_t{2} * kTilePart * tiles_;
    // Rows of a chunk: sums stay below 2^28, and parts fit.
    const int64_t e_limit = e_y.s8 != nullptr ? 128 : (1 << e_y.bits) - 1;
    const int64_t by_range = (rv32::kWinogradLimit - 1) / (e_limit * 255 * s.out_w);
    const int64_t by_scratch = (bytes - (kTaps - 1) * row_bytes) / (2 * row_bytes);
    const int64_t rows = by_range < by_scratch ? by_range : by_scratch;
    constexpr int64_t kWorth = 8;  // tiles for which forming the taps pays
    if (rows < 1 || (rows < s.out_h && rows * tiles_ < kWorth)) return false;
    const int32_t chunks = rows < s.out_h ? (s.out_h - 1) / static_cast<int32_t>(rows) + 1 : 1;
    rows_ = (s.out_h + chunks - 1) / chunks;
    g_ = static_cast<int32_t*>(scratch);
    errors_ = reinterpret_cast<int16_t*>(g_ + kRows * pitch_);
    inputs_ = errors_ + rows_ * tiles_ * kTilePart;
    all_inputs_ =
        rows_ >= s.out_h && rows_ * row_bytes + blocks_ * (rows_ + kTaps - 1) * row_bytes <= bytes;
    return true;
  }

  template <typename Errors>
  void run(const Errors& errors, const typename Errors::Element* e_y, GradientSink sink,
           void* context) {
    const Conv2dShape& s = *s_;
    if (all_inputs_) {
      for (int32_t b = 0; b < blocks_; ++b) transform_inputs(b, 0, s.out_h, block_inputs(b));
    }
    for (int32_t first = 0; first < s.out_c; first += kRows) {
      GradientRows rows = {first, s.out_c - first < kRows ? s.out_c - first : kRows, {}, {}};
      for (int32_t r = 0; r < kRows; ++r) rows.g[r] = g_ + r * pitch_;
      for (int32_t row = 0; row < s.out_h; row += rows_) {
        const int32_t count = s.out_h - row < rows_ ? s.out_h - row : rows_;
        transform_errors(errors, e_y + row * s.out_w * s.out_c, count, rows);
        for (int32_t b = 0; b < blocks_; ++b) {
          if (!all_inputs_) transform_inputs(b, row, count, inputs_);
          for (int32_t ky = 0; ky < kTaps; ++ky) multiply(b, ky, count, row > 0, rows);
        }
      }
      sink(context, rows);
    }
  }

 private:
  int16_t* block_inputs(int32_t block) const {
    return all_inputs_ ? inputs_ + block * (rows_ + kTaps - 1) * tiles_ * kTilePart : inputs_;
  }

  // Errors of count output rows as [row][tile][point][channel]; adds them to the bias gradients.
  template <typename Errors>
  void transform_errors(const Errors& errors, const typename Errors::Element* e, int32_t count,
                        GradientRows& rows) const {
    const Conv2dShape& s = *s_;
    int16_t* to = errors_;
    e += rows.first_row;
    const int32_t pixel = s.out_c;
    for (int32_t y = 0; y < count; ++y, e += s.out_w * pixel) {
      for (int32_t t = 0; t < tiles_; ++t, to += kTilePart) {
        const int32_t left = s.out_w - kTile * t;
        for (int32_t r = 0; r < kRows; ++r) {
          int32_t e0 = 0;
          int32_t e1 = 0;
          int32_t e2 = 0;
          int32_t e3 = 0;
          if (r < rows.count) {
            const typename Errors::Element* from = e + kTile * t * pixel + r;
            e0 = errors(from[0]);
            e1 = left > 1 ? errors(from[pixel]) : 0;
            e2 = left > 2 ? errors(from[2 * pixel]) : 0;
            e3 = left > 3 ? errors(from[3 * pixel]) : 0;
          }
          rows.bias[r] += (e0 + e1) + (e2 + e3);
          rv32::transform_errors<4>(e0, e1, e2, e3, to + r);
        }
      }
    }
  }

  // Inputs that count output rows from row on meet, as [row][tile][point][channel].
  void transform_inputs(int32_t block, int32_t row, int32_t count, int16_t* to) const {
    const Conv2dShape& s = *s_;
    const int32_t first = block * kBlock;
    const int32_t channels = s.in_c - first < kBlock ? s.in_c - first : kBlock;
    const int8_t zero = static_cast<int8_t>(zero_point_);
    const int8_t outside[kBlock] = {zero, zero, zero, zero};
    const int32_t zero_sum = 6 * zero_point_;
    for (int32_t iy = row - s.pad_top; iy < row + count + kTaps - 1 - s.pad_top; ++iy) {
      if (iy < 0 || iy >= s.in_h) {
        rv32::fill_zero(to, tiles_ * kTilePart);
        to += tiles_ * kTilePart;
        continue;
      }
      rv32::for_each_tile(x_ + iy * s.in_w * s.in_c + first, s.in_w, s.in_c, s.pad_left, outside,
                          tiles_, [&](int32_t, const int8_t* const* d) {
                            const auto transform = [&](int32_t i) {
                              rv32::transform_inputs<4>(d[0][i], d[1][i], d[2][i], d[3][i], d[4][i],
                                                        d[5][i], zero_sum, to + i);
                            };
                            if (channels == kBlock) {
                              for (int32_t i = 0; i < kBlock; ++i) transform(i);
                            } else {
                              for (int32_t i = 0; i < kTilePart; ++i) to[i] = 0;
                              for (int32_t i = 0; i < channels; ++i) transform(i);
                            }
                            to += kTilePart;
                          });
    }
  }

  // Gradients of one kernel row's taps for a block of input channels.
  void multiply(int32_t block, int32_t ky, int32_t count, bool add,
                const GradientRows& rows) const {
    int32_t sums[16 * kPoints];
    const int16_t* const x = block_inputs(block) + ky * tiles_ * kTilePart;
    const int16_t* const runs[2] = {x, x + 2};
    const int32_t steps = count * tiles_;
    rv32::BlockArgs args = {};
    args.runs = runs;
    args.run_count = 1;
    args.w = errors_;
    args.set_steps(steps, 2 * kTilePart);
    args.sums = sums;
    args.points = kPoints;
    rv32::winograd_gradient_block(&args);
    const int32_t channels = s_->in_c;
    const int32_t first = block * kBlock;
    const int32_t here = channels - first < kBlock ? channels - first : kBlock;
    for (int32_t r = 0; r < rows.count; ++r) {
      int32_t* g = rows.g[r] + ky * 3 * channels + first;
      for (int32_t i = 0; i < here; ++i, ++g) {
        int32_t taps[kTaps];
        rv32::taps_of<16>(sums + 4 * i + r, taps);
        g[0] = add ? g[0] + taps[0] : taps[0];
        g[channels] = add ? g[channels] + taps[1] : taps[1];
        g[2 * channels] = add ? g[2 * channels] + taps[2] : taps[2];
      }
    }
  }

  const Conv2dShape* s_;
  const int8_t* x_;
  int32_t zero_point_;
  int32_t tiles_;   // of a row
  int32_t blocks_;  // of input channels
  int32_t length_;  // of a gradient row
  int32_t pitch_;   // between gradient rows
  int32_t rows_;    // output rows of a chunk
  bool all_inputs_;
  int32_t* g_;
  int16_t* errors_;
  int16_t* inputs_;
};

// Any kernel and stride: products of four rows' errors with four input channels, summed over the
// pixels that a tap sees, straight from the input; the zero point's share is taken off at the end.
class DirectGradient {
 public:
  DirectGradient(const Conv2dShape& s, const int8_t* x, int32_t zero_point, void* scratch)
      : s_(s), x_(x), zero_point_(zero_point) {
    const uint64_t row_bytes = 4 * static_cast<uint64_t>(s.kernel_h * s.kernel_w * s.in_c);
    pitch_ = static_cast<int32_t>(round_up_16(row_bytes) / 4);
    g_ = static_cast<int32_t*>(scratch);
    errors_ = reinterpret_cast<int16_t*>(g_ + kRows * pitch_);
  }

  template <typename Errors>
  void run(const Errors& errors, const typename Errors::Element* e_y, GradientSink sink,
           void* context) const {
    for (int32_t first = 0; first < s_.out_c; first += kRows) {
      GradientRows rows = {first, s_.out_c - first < kRows ? s_.out_c - first : kRows, {}, {}};
      for (int32_t r = 0; r < kRows; ++r) rows.g[r] = g_ + r * pitch_;
      pack_errors(errors, e_y + first, rows);
      for (int32_t ky = 0; ky < s_.kernel_h; ++ky) {
        const Range y = meets(ky, s_.in_h, s_.out_h, s_.stride_h, s_.pad_top);
        for (int32_t kx = 0; kx < s_.kernel_w; ++kx) {
          tap(ky, kx, y, meets(kx, s_.in_w, s_.out_w, s_.stride_w, s_.pad_left), rows);
        }
      }
      sink(context, rows);
    }
  }

 private:
  struct Range {
    int32_t begin, end;
  };

  // Output positions whose tap k lies inside the input.
  static Range meets(int32_t k, int32_t in, int32_t out, int32_t stride, int32_t pad) {
    const int32_t before = pad - k;  // position * stride >= before
    const int32_t begin = before > 0 ? (before + stride - 1) / stride : 0;
    const int32_t room = in - 1 + before;
    const int32_t end = room < 0 ? 0 : room / stride + 1;
    const int32_t last = end < out ? end : out;
    return {begin < last ? begin : last, last};
  }

  // As [pixel][row of the group]; the sums are the bias gradients.
  template <typename Errors>
  void pack_errors(const Errors& errors, const typename Errors::Element* e,
                   GradientRows& rows) const {
    int16_t* to = errors_;
    for (int32_t p = 0; p < s_.out_h * s_.out_w; ++p, e += s_.out_c, to += kRows) {
      for (int32_t r = 0; r < kRows; ++r) {
        const int32_t value = r < rows.count ? errors(e[r]) : 0;
        rows.bias[r] += value;
        to[r] = static_cast<int16_t>(value);
      }
    }
  }

  void add_errors(const Range& y, const Range& x, int32_t* sums) const {
    for (int32_t oy = y.begin; oy < y.end; ++oy) {
      const int16_t* e = errors_ + (oy * s_.out_w + x.begin) * kRows;
      for (int32_t ox = x.begin; ox < x.end; ++ox, e += kRows) {
        for (int32_t r = 0; r < kRows; ++r) sums[r] += e[r];
      }
    }
  }

  void tap(int32_t ky, int32_t kx, const Range& y, const Range& x, const GradientRows& rows) const {
    const int32_t at = (ky * s_.kernel_w + kx) * s_.in_c;
    if (y.begin == y.end || x.begin == x.end) {
      for (int32_t r = 0; r < rows.count; ++r) {
        for (int32_t i = 0; i < s_.in_c; ++i) rows.g[r][at + i] = 0;
      }
      return;
    }
    // The errors of the rectangle are all but those around it, which are few.
    int32_t around[kRows] = {};
    add_errors({0, y.begin}, {0, s_.out_w}, around);
    add_errors({y.end, s_.out_h}, {0, s_.out_w}, around);
    add_errors(y, {0, x.begin}, around);
    add_errors(y, {x.end, s_.out_w}, around);
    int32_t zero_share[kRows];
    for (int32_t r = 0; r < kRows; ++r) zero_share[r] = zero_point_ * (rows.bias[r] - around[r]);

    const int32_t columns = x.end - x.begin;
    const int32_t iy = y.begin * s_.stride_h + ky - s_.pad_top;
    const int32_t ix = x.begin * s_.stride_w + kx - s_.pad_left;
    for (int32_t block = 0; block < s_.in_c; block += kBlock) {
      // The last block may take channels in that the one before has done.
      const int32_t first = block + kBlock <= s_.in_c ? block : s_.in_c - kBlock;
      int32_t sums[kRows * kBlock];
      rv32::PixelArgs args = {x_ + (iy * s_.in_w + ix) * s_.in_c + first,
                              errors_ + (y.begin * s_.out_w + x.begin) * kRows,
                              s_.stride_w * s_.in_c,
                              (columns & ~1) * 2 * kRows,
                              columns & 1,
                              s_.stride_h * s_.in_w * s_.in_c,
                              s_.out_w * 2 * kRows,
                              y.end - y.begin,
                              sums};
      rv32::pixel_block(&args);
      for (int32_t r = 0; r < rows.count; ++r) {
        for (int32_t i = 0; i < kBlock; ++i) {
          rows.g[r][at + first + i] = sums[kRows * i + r] - zero_share[r];
        }
      }
    }
  }

  const Conv2dShape& s_;
  const int8_t* const x_;
  const int32_t zero_point_;
  int32_t pitch_;
  int32_t* g_;
  int16_t* errors_;
};

template <typename Errors>
bool bwd_weight(const Conv2dShape& s, const ErrorView& e_y, const Errors& errors,
                const typename Errors::Element* e, const int8_t* x, int32_t zero_point,
                void* scratch, GradientSink sink, void* context) {
  WinogradGradient form;
  if (form.init(s, e_y, x, zero_point, scratch)) {
    form.run(errors, e, sink, context);
    return true;
  }
  if (s.in_c < kBlock) return false;
  DirectGradient(s, x, zero_point, scratch).run(errors, e, sink, context);
  return true;
}

}  // namespace

bool conv2d_s8_bwd_weight_rv32(const Conv2dShape& s, const ErrorView& e_y, const int8_t* x,
                               int32_t x_zero_point, void* scratch, GradientSink sink,
                               void* context) {
  if (e_y.s8 != nullptr) {
    return bwd_weight(s, e_y, NarrowErrors{}, e_y.s8, x, x_zero_point, scratch, sink, context);
  }
  return bwd_weight(s, e_y, WideErrors(e_y), e_y.s16, x, x_zero_point, scratch, sink, context);
}

}  // namespace tbft

#endif
