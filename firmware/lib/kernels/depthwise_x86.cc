// Depthwise forward pass and input gradient on x86 (AVX2 and up), eight channels at a time.
#include "kernels/dispatch.h"

#if TBFT_KERNELS_X86

#include "kernels/x86_depthwise.h"

namespace tbft {
namespace {

using x86::load_64;

constexpr int32_t kMaxBlocks = 64;  // of eight channels; their parameters are kept on the stack

bool fits(const Conv2dShape& s) { return s.in_c % 8 == 0 && s.in_c <= 8 * kMaxBlocks; }

bool is_affine(const Conv2dShape& s) {
  return s.kernel_h == 1 && s.kernel_w == 1 && s.stride_h == 1 && s.stride_w == 1 &&
         s.in_h == s.out_h && s.in_w == s.out_w;
}

struct Taps {
  int32_t begin, end;
};

// The kernel positions k of 0 <= base + k < size.
Taps taps_inside(int32_t base, int32_t kernel, int32_t size) {
  const int32_t begin = base < 0 ? -base : 0;
  return {begin, size - base < kernel ? size - base : kernel};
}

// (x - zero point) * w fits int16: 255 * 128 < 2^15.
inline __m256i product(const int8_t* x, const int8_t* w, __m128i zero_point) {
  const __m128i values = _mm_sub_epi16(_mm_cvtepi8_epi16(load_64(x)), zero_point);
  return _mm256_cvtepi16_epi32(_mm_mullo_epi16(values, _mm_cvtepi8_epi16(load_64(w))));
}

inline __m256i window_sum(const Conv2dShape& s, const int8_t* x, const int8_t* w,
                          __m128i zero_point, int32_t oy, int32_t ox, int32_t c) {
  const int32_t top = oy * s.stride_h - s.pad_top;
  const int32_t left = ox * s.stride_w - s.pad_left;
  const Taps rows = taps_inside(top, s.kernel_h, s.in_h);
  const Taps columns = taps_inside(left, s.kernel_w, s.in_w);
  __m256i acc = _mm256_setzero_si256();
  for (int32_t ky = rows.begin; ky < rows.end; ++ky) {
    for (int32_t kx = columns.begin; kx < columns.end; ++kx) {
      const int8_t* const at = x + ((top + ky) * s.in_w + left + kx) * s.in_c + c;
      acc = _mm256_add_epi32(acc, product(at, w + (ky * s.kernel_w + kx) * s.in_c + c, zero_point));
    }
  }
  return acc;
}

struct Contribution {
  int32_t tap, out;
};

// Output rows (or columns) that a position reaches: k with (position + pad - k) a multiple of the
// stride and in range.
int32_t reached(int32_t position, int32_t pad, int32_t kernel, int32_t stride, int32_t out,
                Contribution* list) {
  int32_t count = 0;
  for (int32_t k = (position + pad) % stride; k < kernel && k <= position + pad; k += stride) {
    const int32_t o = (position + pad - k) / stride;
    if (o < out) list[count++] = {k, o};
  }
  return count;
}

constexpr int32_t kMaxTaps = 15;

}  // namespace

bool depthwise_s8_fwd_x86(const Conv2dShape& s, const int8_t* x, const int8_t* w,
                          const int32_t* bias, const Requantization& rq, int8_t* y) {
  if (!fits(s)) return false;
  const int32_t blocks = s.in_c / 8;
  x86::Requantize8 requantize[kMaxBlocks];
  for (int32_t b = 0; b < blocks; ++b) requantize[b] = x86::Requantize8(rq, bias, 8 * b, 8);
  const __m128i zero_point = _mm_set1_epi16(static_cast<int16_t>(rq.in_zero_point));
  const bool affine = is_affine(s);
  // Elements strictly in ascending order, each read before it is overwritten.
  for (int32_t oy = 0; oy < s.out_h; ++oy) {
    for (int32_t ox = 0; ox < s.out_w; ++ox) {
      for (int32_t b = 0; b < blocks; ++b, y += 8) {
        const __m256i acc = affine ? product(x, w + 8 * b, zero_point)
                                   : window_sum(s, x, w, zero_point, oy, ox, 8 * b);
        if (affine) x += 8;
        x86::store_partial_s8(y, requantize[b](acc), 8);
      }
    }
  }
  return true;
}

bool depthwise_s8_bwd_input_x86(const Conv2dShape& s, const ErrorView& e_y, const int8_t* w,
                                const int16_t* q, int32_t shift, int8_t* e_x, uint32_t* largest) {
  if (!fits(s) || s.kernel_h > kMaxTaps || s.kernel_w > kMaxTaps) return false;
  const x86::ErrorLoader errors(e_y);
  x86::ErrorStore8 narrow(shift);
  Contribution rows[kMaxTaps];
  Contribution columns[kMaxTaps];
  for (int32_t iy = 0; iy < s.in_h; ++iy) {
    const int32_t n_rows = reached(iy, s.pad_top, s.kernel_h, s.stride_h, s.out_h, rows);
    for (int32_t ix = 0; ix < s.in_w; ++ix) {
      const int32_t n_columns = reached(ix, s.pad_left, s.kernel_w, s.stride_w, s.out_w, columns);
      for (int32_t c = 0; c < s.in_c; c += 8, e_x += 8) {
        __m256i acc = _mm256_setzero_si256();
        for (int32_t r = 0; r < n_rows; ++r) {
          for (int32_t k = 0; k < n_columns; ++k) {
            const int32_t tap = rows[r].tap * s.kernel_w + columns[k].tap;
            const int32_t e = (rows[r].out * s.out_w + columns[k].out) * s.in_c + c;
            const __m256i scaled = x86::scaled_weights(w + tap * s.in_c + c, q + c);
            acc = _mm256_add_epi32(acc, x86::multiply_errors(errors.load_8(e), scaled));
          }
        }
        x86::store_partial_s8(e_x, narrow(acc), 8);
      }
    }
  }
  *largest = x86::largest_lane(narrow.largest_lanes());
  return true;
}

}  // namespace tbft

#endif  // TBFT_KERNELS_X86
