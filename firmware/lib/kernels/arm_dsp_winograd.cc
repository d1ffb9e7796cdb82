#include "kernels/arm_dsp_winograd.h"

#if TBFT_KERNELS_ARM_DSP

#include "kernels/arm_dsp_dot.h"
#include "kernels/conv2d.h"
#include "kernels/scaled_weight.h"

namespace tbft {
namespace arm {
namespace {

constexpr int32_t kTaps = 3;
constexpr int32_t kTile = 4;       // outputs of a tile
constexpr int32_t kBlocks = 8;     // pairs of tiles whose sums are on the stack at a time
constexpr int32_t kLinePairs = 8;  // pairs of tiles widened at a time
constexpr int32_t kLine = 2 * kTile * kLinePairs + 4;
constexpr int64_t kLargestSum = int64_t{1} << 28;

// A convolution of `channels` channels over width x height outputs, pad_top and pad_left zeros in
// front of the input. Input factors of a strip of output rows lie in scratch as words
// [pair of tiles][point][input row][channel pair][2 tiles], so that the three kernel rows are one
// run; then the weights of two output channels, [point][kernel row][channel pair][2].
struct Strips {
  int32_t channels;
  int32_t height, width;
  int32_t in_height, in_width;
  int32_t pad_top, pad_left;
  int32_t tile_pairs;
  int32_t rows;  // output rows at a time

  int32_t row_words() const { return channels; }
  int32_t point_words() const { return (rows + kTaps - 1) * row_words(); }
  int32_t pair_words() const { return kPoints * point_words(); }
  int32_t weight_words() const { return kTaps * channels; }  // of one point
};

// Fills in tile_pairs and rows; false where the method does not apply or scratch is too small.
bool lay_out(Strips* p, uint64_t scratch_bytes) {
  if (p->channels % 4 != 0 || p->pad_top < 0 || p->pad_left < 0) return false;
  p->tile_pairs = (p->width + 2 * kTile - 1) / (2 * kTile);
  // Half the multiplications, unless the last tiles are mostly beyond the edge.
  if (p->tile_pairs * 2 * kTile * 3 > p->width * 5) return false;
  const int64_t weights = int64_t{kPoints} * p->weight_words();
  const int64_t words = static_cast<int64_t>(scratch_bytes / sizeof(uint32_t)) - weights;
  const int64_t rows = words / (int64_t{p->tile_pairs} * kPoints * p->row_words()) - (kTaps - 1);
  if (rows < 1) return false;
  p->rows = static_cast<int32_t>(rows < p->height ? rows : p->height);
  return true;
}

inline void store_factors(const InputFactors& f, int32_t step, uint32_t* to) {
  for (int32_t i = 0; i < kPoints; ++i, to += step) *to = f.p[i];
}

// The factors of the tiles of one line, two channels at a time.
__attribute__((noinline)) void transform_line(const uint32_t* line, int32_t pairs, int32_t step,
                                              int32_t pair_words, uint32_t* to) {
  for (; pairs > 0; --pairs, line += 2 * kTile, to += pair_words) {
    store_factors(input_factors(line[0], line[1], line[2], line[3], line[4], line[5]), step, to);
    store_factors(input_factors(line[4], line[5], line[6], line[7], line[8], line[9]), step,
                  to + 1);
  }
}

// to: the row's place in the first pair of tiles. row is null outside the input.
void transform_row(const Strips& p, const int8_t* row, uint32_t offset, uint32_t* to) {
  const int32_t step = p.point_words();
  if (row == nullptr) {
    for (int32_t i = 0; i < p.tile_pairs * kPoints; ++i, to += step) {
      fill_zero(2 * p.row_words(), reinterpret_cast<int16_t*>(to));
    }
    return;
  }
  uint32_t even[kLine];
  uint32_t odd[kLine];
  for (int32_t c = 0; c < p.channels; c += 4, to += 4) {
    uint32_t* at = to;
    for (int32_t pair = 0; pair < p.tile_pairs; pair += kLinePairs) {
      const int32_t pairs = p.tile_pairs - pair < kLinePairs ? p.tile_pairs - pair : kLinePairs;
      widen_columns(row + c, p.in_width, p.channels, offset, 2 * kTile * pair - p.pad_left,
                    2 * kTile * pairs + 4, {even, odd});
      transform_line(even, pairs, step, p.pair_words(), at);
      transform_line(odd, pairs, step, p.pair_words(), at + 2);
      at += pairs * p.pair_words();
    }
  }
}

// The last two input rows of a strip are the first two of the next.
void keep_last_rows(const Strips& p, uint32_t* factors) {
  const int32_t words = (kTaps - 1) * p.row_words();
  for (int32_t i = 0; i < p.tile_pairs * kPoints; ++i, factors += p.point_words()) {
    copy_words_down(factors + p.rows * p.row_words(), words, factors);
  }
}

// Sums of some pairs of tiles, and where their outputs go.
struct Blocks {
  int32_t n;
  FourSums sums[kBlocks][kPoints];
  int8_t* to[kBlocks];    // first of the two channels at the first column
  int32_t left[kBlocks];  // columns from there to the end of the row
  int32_t pixel_step;     // from one column to the next, in bytes
};

// input(iy) -> int8 row, null outside; weights(o, to) packs channels o and o + 1; output(o, blocks)
// takes the sums. out [height, width, out_channels].
template <typename Input, typename Weights, typename Output>
void run_strips(const Strips& p, int32_t out_channels, uint32_t offset, const Input& input,
                const Weights& weights, const Output& output, uint32_t* scratch, int8_t* out) {
  uint32_t* const factors = scratch;
  uint32_t* const packed = scratch + p.tile_pairs * p.pair_words();
  const bool long_chunks = p.channels % 16 == 0;
  PointRuns runs = {kTaps * p.channels / (long_chunks ? 48 : 4),
                    (p.point_words() - kTaps * p.row_words()) * 4,
                    static_cast<int32_t>(sizeof(FourSums[kPoints])), 0};
  const auto dot = long_chunks ? tbft_arm_dot_points_48 : tbft_arm_dot_points_4;
  Blocks blocks;
  blocks.pixel_step = out_channels;
  for (int32_t y = 0; y < p.height; y += p.rows) {
    const int32_t rows = p.height - y < p.rows ? p.height - y : p.rows;
    if (y > 0) keep_last_rows(p, factors);
    for (int32_t r = y > 0 ? kTaps - 1 : 0; r < rows + kTaps - 1; ++r) {
      transform_row(p, input(y + r - p.pad_top), offset, factors + r * p.row_words());
    }
    for (int32_t o = 0; o < out_channels; o += 2) {
      weights(o, packed);
      int32_t pair = 0;
      int32_t row = 0;
      while (pair < p.tile_pairs) {
        const uint32_t* x[kBlocks];
        int32_t n = 0;
        for (; n < kBlocks && pair < p.tile_pairs; ++n) {
          const int32_t column = 2 * kTile * pair;
          x[n] = factors + pair * p.pair_words() + row * p.row_words();
          blocks.to[n] = out + ((y + row) * p.width + column) * out_channels + o;
          blocks.left[n] = p.width - column;
          if (++row == rows) {
            row = 0;
            ++pair;
          }
        }
        blocks.n = n;
        runs.blocks = n;
        dot(x, packed, blocks.sums[0], &runs);
        output(o, blocks);
      }
    }
  }
}

constexpr int32_t kSumStep = sizeof(FourSums) / sizeof(int32_t);  // between points

inline OutputQuotients quotients_of(const int32_t* m) {
  return output_quotients(static_cast<uint32_t>(m[0]), static_cast<uint32_t>(m[kSumStep]),
                          static_cast<uint32_t>(m[2 * kSumStep]),
                          static_cast<uint32_t>(m[3 * kSumStep]),
                          static_cast<uint32_t>(m[4 * kSumStep]));
}

inline int32_t last_point(const int32_t* m) { return m[5 * kSumStep]; }

// Calls tile(m, left, to) for the tiles of one of the two channels.
template <typename Tile>
inline void for_each_tile(const Blocks& blocks, int32_t channel, const Tile& tile) {
  for (int32_t i = 0; i < blocks.n; ++i) {
    const int32_t* const m = &blocks.sums[i][0].a0 + 2 * channel;
    int8_t* const to = blocks.to[i] + channel;
    tile(m, blocks.left[i], to);
    tile(m + 1, blocks.left[i] - kTile, to + kTile * blocks.pixel_step);
  }
}

inline void store_tile(const int32_t* value, int32_t left, int32_t step, int8_t* to) {
  if (left >= kTile) {
    to[0] = static_cast<int8_t>(value[0]);
    to[step] = static_cast<int8_t>(value[1]);
    to += 2 * step;
    to[0] = static_cast<int8_t>(value[2]);
    to[step] = static_cast<int8_t>(value[3]);
    return;
  }
  for (int32_t i = 0; i < left; ++i, to += step) *to = static_cast<int8_t>(value[i]);
}

__attribute__((noinline)) void store_activations(const Blocks& blocks, int32_t channel,
                                                 const OutputScale& channel_scale) {
  const OutputScale scale = channel_scale;
  const int32_t start = 2 * scale.bias();
  const int32_t step = blocks.pixel_step;
  for_each_tile(blocks, channel, [&](const int32_t* m, int32_t left, int8_t* to) {
    const OutputQuotients q = quotients_of(m);
    const int32_t value[kTile] = {
        scale.from_twice(start + (q.y0_8 >> 2)), scale.from_twice(start + (q.y1_4 >> 1)),
        scale.from_twice(start + q.y2_2), scale.from_twice(start + q.y3_2 + 2 * last_point(m))};
    store_tile(value, left, step, to);
  });
}

__attribute__((noinline)) void store_activations_exact(const Blocks& blocks, int32_t channel,
                                                       const OutputScale& scale) {
  const int32_t start = scale.bias();
  for_each_tile(blocks, channel, [&](const int32_t* m, int32_t left, int8_t* to) {
    const OutputQuotients q = quotients_of(m);
    const int32_t sums[kTile] = {q.y0_8 >> 3, q.y1_4 >> 2, q.y2_2 >> 1,
                                 (q.y3_2 >> 1) + last_point(m)};
    int32_t value[kTile];
    for (int32_t i = 0; i < kTile; ++i) value[i] = scale.exact(wrapping_add(start, sums[i]));
    store_tile(value, left, blocks.pixel_step, to);
  });
}

__attribute__((noinline)) void store_errors(const Blocks& blocks, int32_t channel,
                                            ErrorOutput* channel_output) {
  ErrorOutput output = *channel_output;
  const int32_t step = blocks.pixel_step;
  for_each_tile(blocks, channel, [&](const int32_t* m, int32_t left, int8_t* to) {
    const OutputQuotients q = quotients_of(m);
    const int32_t sums[kTile] = {q.y0_8 >> 3, q.y1_4 >> 2, q.y2_2 >> 1,
                                 (q.y3_2 >> 1) + last_point(m)};
    if (left >= kTile) {
      uint32_t word = static_cast<uint32_t>(output(sums[0]));
      word = insert_byte<1>(word, output(sums[1]));
      word = insert_byte<2>(word, output(sums[2]));
      word = ErrorOutput::symmetric(insert_byte<3>(word, output(sums[3])));
      to[0] = static_cast<int8_t>(word);
      to[step] = static_cast<int8_t>(word >> 8);
      to += 2 * step;
      to[0] = static_cast<int8_t>(word >> 16);
      to[step] = static_cast<int8_t>(word >> 24);
      return;
    }
    for (int32_t i = 0; i < left; ++i, to += step) {
      *to = static_cast<int8_t>(ErrorOutput::symmetric(static_cast<uint32_t>(output(sums[i]))));
    }
  });
  *channel_output = output;
}

// Forward weights of two output channels: quads of input channels of the three taps of a kernel
// row.
void pack_forward(const Strips& p, const int8_t* a, const int8_t* b, uint32_t* to) {
  const int32_t step = p.weight_words();
  for (int32_t row = 0; row < kTaps; ++row) {
    for (int32_t c = 0; c < p.channels; c += 4, to += 4) {
      const int8_t* const from[2] = {a + c, b + c};
      for (int32_t ch = 0; ch < 2; ++ch) {
        const uint32_t g0 = load_word(from[ch]);
        const uint32_t g1 = load_word(from[ch] + p.channels);
        const uint32_t g2 = load_word(from[ch] + 2 * p.channels);
        store_factors(weight_factors(widen_even(0, g0), widen_even(0, g1), widen_even(0, g2)), step,
                      to + ch);
        store_factors(weight_factors(widen_odd(0, g0), widen_odd(0, g1), widen_odd(0, g2)), step,
                      to + ch + 2);
      }
    }
    a += kTaps * p.channels;
    b += kTaps * p.channels;
  }
}

// Scaled weights of input channels i and i + next (0 or 1), turned by 180 degrees: quads of output
// channels of the three taps of a kernel row. w at channel i.
void pack_backward(const Strips& p, const Conv2dShape& s, const int8_t* w, int32_t next,
                   const int16_t* q, uint32_t* to) {
  const int32_t step = p.weight_words();
  const int32_t length = kTaps * kTaps * s.in_c;
  for (int32_t row = kTaps - 1; row >= 0; --row) {
    for (int32_t o = 0; o < s.out_c; o += 4, to += 4) {
      ScaledQuad taps[kTaps];
      for (int32_t tap = 0; tap < kTaps; ++tap) {
        const int8_t* const from = w + o * length + (row * kTaps + kTaps - 1 - tap) * s.in_c;
        taps[tap] = scaled_quad(from, length, next, q + o);
      }
      store_factors(weight_factors(taps[0].a_even, taps[1].a_even, taps[2].a_even), step, to);
      store_factors(weight_factors(taps[0].b_even, taps[1].b_even, taps[2].b_even), step, to + 1);
      store_factors(weight_factors(taps[0].a_odd, taps[1].a_odd, taps[2].a_odd), step, to + 2);
      store_factors(weight_factors(taps[0].b_odd, taps[1].b_odd, taps[2].b_odd), step, to + 3);
    }
  }
}

}  // namespace

bool winograd_fwd(const Conv2dShape& s, const int8_t* x, const int8_t* w, const int32_t* bias,
                  const Requantization& rq, void* scratch, int8_t* y) {
  if (s.kernel_h != kTaps || s.kernel_w != kTaps || s.stride_h != 1 || s.stride_w != 1)
    return false;
  const int64_t limit = int64_t{kTaps} * kTaps * s.in_c * 128 * 255;
  if (limit >= kLargestSum) return false;
  Strips p = {s.in_c, s.out_h, s.out_w, s.in_h, s.in_w, s.pad_top, s.pad_left, 0, 0};
  if (!lay_out(&p, conv2d_s8_fwd_scratch_bytes(s))) return false;
  const int32_t length = kTaps * kTaps * s.in_c;
  const auto input = [&](int32_t iy) {
    return iy < 0 || iy >= s.in_h ? nullptr : x + iy * s.in_w * s.in_c;
  };
  const auto weights = [&](int32_t o, uint32_t* to) {
    pack_forward(p, w + o * length, w + (o + 1 < s.out_c ? o + 1 : o) * length, to);
  };
  const auto output = [&](int32_t o, const Blocks& blocks) {
    for (int32_t channel = 0; channel < 2 && o + channel < s.out_c; ++channel) {
      const OutputScale scale(rq, o + channel, limit, bias == nullptr ? 0 : bias[o + channel]);
      if (scale.fast()) {
        store_activations(blocks, channel, scale);
      } else {
        store_activations_exact(blocks, channel, scale);
      }
    }
  };
  const uint32_t offset = both_halves(-rq.in_zero_point);
  uint32_t* const words = static_cast<uint32_t*>(scratch);
  run_strips(p, s.out_c, offset, input, weights, output, words, y);
  return true;
}

bool winograd_bwd_input(const Conv2dShape& s, const ErrorView& e_y, const int8_t* w,
                        const int16_t* q, int32_t shift, void* scratch, int8_t* e_x,
                        uint32_t* largest) {
  if (s.kernel_h != kTaps || s.kernel_w != kTaps || s.stride_h != 1 || s.stride_w != 1)
    return false;
  if (int64_t{kTaps} * kTaps * s.out_c * 127 * 2048 >= kLargestSum) return false;
  Strips p = {
      s.out_c, s.in_h, s.in_w, s.out_h, s.out_w, kTaps - 1 - s.pad_top, kTaps - 1 - s.pad_left,
      0,       0};
  if (!lay_out(&p, conv2d_s8_bwd_input_scratch_bytes(s))) return false;
  uint32_t* const words = static_cast<uint32_t*>(scratch);
  // A wide row is narrowed where the weights will lie.
  int8_t* const narrow = reinterpret_cast<int8_t*>(words + p.tile_pairs * p.pair_words());
  const int32_t row_bytes = s.out_w * s.out_c;
  const int32_t weight_bytes = kPoints * p.weight_words() * static_cast<int32_t>(sizeof(uint32_t));
  if (e_y.s8 == nullptr && row_bytes > weight_bytes) return false;
  const auto input = [&](int32_t oy) {
    return oy < 0 || oy >= s.out_h ? nullptr
                                   : narrow_errors(e_y, oy * row_bytes, row_bytes, narrow);
  };
  const auto weights = [&](int32_t i, uint32_t* to) {
    pack_backward(p, s, w + i, i + 1 < s.in_c ? 1 : 0, q, to);
  };
  ErrorOutput errors(shift);
  const auto output = [&](int32_t i, const Blocks& blocks) {
    for (int32_t channel = 0; channel < 2 && i + channel < s.in_c; ++channel) {
      store_errors(blocks, channel, &errors);
    }
  };
  run_strips(p, s.in_c, 0, input, weights, output, words, e_x);
  *largest = errors.largest();
  return true;
}

}  // namespace arm
}  // namespace tbft

#endif  // TBFT_KERNELS_ARM_DSP
