// Weight gradient on x86 (AVX2 and up).
//
// Lanes are eight input channels; the sums run over pairs of neighbouring output pixels. The input
// is laid out once as [row][column][channel][2] int16: the value at a column and the one a stride
// further on, so that every tap of every pair of output pixels is one contiguous load. Errors
// become [group of 4 rows][pair of pixels][4][2], read by broadcast.
#include "kernels/dispatch.h"

#if TBFT_KERNELS_X86

#include "kernels/x86_vector.h"

namespace tbft {
namespace {

using x86::dot_pairs;
using x86::load_256;
using x86::load_64;
using x86::load_dword;
using x86::store_256;

constexpr int kRows = 4;                                // output channels at a time
constexpr int kBlocks = x86::kRegisters == 32 ? 6 : 2;  // blocks of eight gradients at a time
constexpr int32_t kInputElements = 96 * 1024;           // int16; 192 KiB of stack
constexpr int32_t kErrorElements = 32 * 1024;           // int16; 64 KiB of stack

struct Layout {
  int32_t channels;     // in_c rounded up to 8
  int32_t columns;      // columns of a laid-out input row
  int32_t input_pitch;  // int16 elements of a laid-out input row
  int32_t pairs;        // pairs of output pixels in a row
  int32_t groups;       // of four output channels
  int32_t chunk_rows;   // output rows laid out at a time; 0 when not even one fits
};

Layout layout_of(const Conv2dShape& s) {
  Layout layout = {};
  layout.channels = (s.in_c + 7) / 8 * 8;
  layout.pairs = (s.out_w + 1) / 2;
  layout.columns = (layout.pairs - 1) * 2 * s.stride_w + s.kernel_w;
  layout.groups = (s.out_c + kRows - 1) / kRows;
  const int64_t input_pitch = int64_t{layout.columns} * layout.channels * 2;
  const int64_t error_pitch = int64_t{layout.groups} * layout.pairs * kRows * 2;
  const int64_t input_rows = kInputElements / input_pitch - s.kernel_h;
  if (input_rows < 0 || error_pitch > kErrorElements) return layout;
  const int64_t by_input = input_rows / s.stride_h + 1;
  const int64_t by_error = kErrorElements / error_pitch;
  const int64_t rows = by_input < by_error ? by_input : by_error;
  layout.input_pitch = static_cast<int32_t>(input_pitch);
  layout.chunk_rows = static_cast<int32_t>(rows < s.out_h ? rows : s.out_h);
  return layout;
}

// One channel's value of the padded input, zero point taken off.
inline int16_t input_value(const Conv2dShape& s, const int8_t* row, int32_t ix, int32_t c,
                           int32_t zero_point) {
  if (ix < 0 || ix >= s.in_w || c >= s.in_c) return 0;
  return static_cast<int16_t>(row[ix * s.in_c + c] - zero_point);
}

void lay_out_input_row(const Conv2dShape& s, const Layout& layout, const int8_t* row,
                       int32_t zero_point, int16_t* to) {
  const __m128i zero = _mm_set1_epi16(static_cast<int16_t>(zero_point));
  for (int32_t column = 0; column < layout.columns; ++column) {
    const int32_t ix = column - s.pad_left;
    for (int32_t c = 0; c < layout.channels; c += 8, to += 16) {
      if (c + 8 <= s.in_c) {
        const auto values = [&](int32_t at) {
          if (at < 0 || at >= s.in_w) return _mm_setzero_si128();
          return _mm_sub_epi16(_mm_cvtepi8_epi16(load_64(row + at * s.in_c + c)), zero);
        };
        const __m128i first = values(ix);
        const __m128i second = values(ix + s.stride_w);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_unpacklo_epi16(first, second));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 8), _mm_unpackhi_epi16(first, second));
      } else {
        for (int32_t i = 0; i < 8; ++i) {
          to[2 * i] = input_value(s, row, ix, c + i, zero_point);
          to[2 * i + 1] = input_value(s, row, ix + s.stride_w, c + i, zero_point);
        }
      }
    }
  }
}

void lay_out_input(const Conv2dShape& s, const Layout& layout, const int8_t* x, int32_t zero_point,
                   int32_t first_row, int32_t out_rows, int16_t* to) {
  const int32_t rows = (out_rows - 1) * s.stride_h + s.kernel_h;
  for (int32_t r = 0; r < rows; ++r, to += layout.input_pitch) {
    const int32_t iy = first_row * s.stride_h - s.pad_top + r;
    if (iy < 0 || iy >= s.in_h) {
      for (int32_t i = 0; i < layout.input_pitch; i += 16) {
        store_256(to + i, _mm256_setzero_si256());
      }
    } else {
      lay_out_input_row(s, layout, x + iy * s.in_w * s.in_c, zero_point, to);
    }
  }
}

// [group][row][pair][4][2]; 0 beyond the last pixel of a row and the last channel.
void lay_out_errors(const Conv2dShape& s, const Layout& layout, const ErrorView& e_y,
                    int32_t first_row, int32_t out_rows, int16_t* to) {
  const x86::ErrorLoader loader(e_y);
  for (int32_t group = 0; group < layout.groups; ++group) {
    const int32_t o = group * kRows;
    const bool whole = o + kRows <= s.out_c;
    for (int32_t oy = first_row; oy < first_row + out_rows; ++oy) {
      int32_t from = oy * s.out_w * s.out_c + o;
      for (int32_t ox = 0; ox < s.out_w; ox += 2, from += 2 * s.out_c, to += 8) {
        const bool both = ox + 1 < s.out_w;
        if (whole) {
          const __m128i first = loader.load_4(from);
          const __m128i second = both ? loader.load_4(from + s.out_c) : _mm_setzero_si128();
          _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_unpacklo_epi16(first, second));
        } else {
          for (int32_t r = 0; r < kRows; ++r) {
            const bool real = o + r < s.out_c;
            const int32_t first = real ? error_value(e_y, from + r) : 0;
            const int32_t second = real && both ? error_value(e_y, from + s.out_c + r) : 0;
            to[2 * r] = static_cast<int16_t>(first);
            to[2 * r + 1] = static_cast<int16_t>(second);
          }
        }
      }
    }
  }
}

struct Gradient {
  int32_t* g;       // row 0 of the group, at the kernel row's first gradient
  int32_t pitch;    // from one row to the next
  bool accumulate;  // add to what is there (second and later chunks)
};

// Adds or stores eight gradients of block number block of a kernel row; blocks are [kx][channels /
// 8].
inline void store_block(const Conv2dShape& s, const Layout& layout, const Gradient& gradient,
                        int32_t row, int32_t block, __m256i acc) {
  const int32_t per_tap = layout.channels / 8;
  const int32_t c = block % per_tap * 8;
  int32_t* const to = gradient.g + row * gradient.pitch + block / per_tap * s.in_c + c;
  if (c + 8 <= s.in_c) {
    if (gradient.accumulate) acc = _mm256_add_epi32(acc, load_256(to));
    store_256(to, acc);
    return;
  }
  int32_t lanes[8];
  store_256(lanes, acc);
  for (int32_t i = 0; i < s.in_c - c; ++i) to[i] = lanes[i] + (gradient.accumulate ? to[i] : 0);
}

// Four rows by kTile blocks over all pixels of the chunk. x is at the first block's first pair, e
// at the group's first pair.
template <int kTile>
inline void gradient_tile(const Conv2dShape& s, const Layout& layout, int32_t out_rows,
                          const int16_t* x, const int16_t* e, int32_t block,
                          const Gradient& gradient) {
  __m256i acc[kRows][kTile];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 6
    for (int b = 0; b < kTile; ++b) acc[r][b] = _mm256_setzero_si256();
  }
  const int32_t x_step = 2 * s.stride_w * layout.channels * 2;
  const int32_t x_row_step = s.stride_h * layout.input_pitch;
  for (int32_t oy = 0; oy < out_rows; ++oy, x += x_row_step) {
    const int16_t* px = x;
    for (int32_t pair = layout.pairs; pair > 0; --pair, px += x_step, e += 2 * kRows) {
      __m256i errors[kRows];
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) errors[r] = _mm256_set1_epi32(load_dword(e + 2 * r));
#pragma GCC unroll 6
      for (int b = 0; b < kTile; ++b) {
        const __m256i values = load_256(px + 16 * b);
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) acc[r][b] = dot_pairs(acc[r][b], values, errors[r]);
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 6
    for (int b = 0; b < kTile; ++b) store_block(s, layout, gradient, r, block + b, acc[r][b]);
  }
}

template <int kTile>
inline void gradient_remainder(int32_t blocks, const Conv2dShape& s, const Layout& layout,
                               int32_t out_rows, const int16_t* x, const int16_t* e, int32_t block,
                               const Gradient& gradient) {
  if (blocks == kTile) {
    gradient_tile<kTile>(s, layout, out_rows, x, e, block, gradient);
  } else if constexpr (kTile > 1) {
    gradient_remainder<kTile - 1>(blocks, s, layout, out_rows, x, e, block, gradient);
  }
}

// Adds the group's errors to the bias gradients; e [pairs][4][2].
void add_bias(const int16_t* e, int32_t pairs, int32_t* bias) {
  __m128i sums = _mm_setzero_si128();
  const __m128i ones = _mm_set1_epi16(1);
  for (int32_t i = 0; i < pairs; ++i) {
    sums = _mm_add_epi32(sums, _mm_madd_epi16(x86::load_128(e + 8 * i), ones));
  }
  int32_t lanes[4];
  _mm_storeu_si128(reinterpret_cast<__m128i*>(lanes), sums);
  for (int r = 0; r < kRows; ++r) bias[r] += lanes[r];
}

}  // namespace

bool conv2d_s8_bwd_weight_x86(const Conv2dShape& s, const ErrorView& e_y, const int8_t* x,
                              int32_t x_zero_point, void* scratch, GradientSink sink,
                              void* context) {
  alignas(64) int16_t input[kInputElements];
  alignas(64) int16_t errors[kErrorElements];
  const Layout layout = layout_of(s);
  if (layout.chunk_rows == 0) return false;
  const int32_t length = s.kernel_h * s.kernel_w * s.in_c;
  const int32_t pitch = static_cast<int32_t>(round_up_16(4 * static_cast<uint64_t>(length)) / 4);
  const int32_t blocks = s.kernel_w * layout.channels / 8;
  int32_t* const g = static_cast<int32_t*>(scratch);
  for (int32_t group = 0; group < layout.groups; ++group) {
    const int32_t row = group * kRows;
    GradientRows rows = {row, s.out_c - row < kRows ? s.out_c - row : kRows, {}, {}};
    for (int32_t r = 0; r < kRows; ++r) rows.g[r] = g + r * pitch;
    for (int32_t oy = 0; oy < s.out_h; oy += layout.chunk_rows) {
      const int32_t left = s.out_h - oy;
      const int32_t out_rows = left < layout.chunk_rows ? left : layout.chunk_rows;
      if (group == 0 || layout.chunk_rows < s.out_h) {
        lay_out_input(s, layout, x, x_zero_point, oy, out_rows, input);
        lay_out_errors(s, layout, e_y, oy, out_rows, errors);
      }
      const int16_t* const e = errors + group * out_rows * layout.pairs * 2 * kRows;
      add_bias(e, out_rows * layout.pairs, rows.bias);
      for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
        const Gradient gradient = {g + ky * s.kernel_w * s.in_c, pitch, oy > 0};
        const int16_t* const x_row = input + ky * layout.input_pitch;
        int32_t block = 0;
        for (; block + kBlocks <= blocks; block += kBlocks) {
          gradient_tile<kBlocks>(s, layout, out_rows, x_row + 16 * block, e, block, gradient);
        }
        gradient_remainder<kBlocks - 1>(blocks - block, s, layout, out_rows, x_row + 16 * block, e,
                                        block, gradient);
      }
    }
    sink(context, rows);
  }
  return true;
}

}  // namespace tbft

#endif  // TBFT_KERNELS_X86
