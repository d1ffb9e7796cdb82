// Eight int32 lanes at a time on AVX2, and on AVX512-VNNI where the build has it. Only the *_x86.cc
// files include this.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/conv_shape.h"
#include "kernels/error_view.h"

namespace tbft {
namespace x86 {

#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
constexpr int kRegisters = 32;
#else
constexpr int kRegisters = 16;
#endif

// acc + a.even * b.even + a.odd * b.odd per 32-bit lane of int16 pairs; |a * b| < 2^30, so nothing
// saturates.
inline __m256i dot_pairs(__m256i acc, __m256i a, __m256i b) {
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
  return _mm256_dpwssd_epi32(acc, a, b);
#else
  return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b));
#endif
}

// Loads and stores of any alignment.
inline __m256i load_256(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
inline void store_256(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
inline __m128i load_128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
inline __m128i load_64(const void* p) { return _mm_loadl_epi64(static_cast<const __m128i*>(p)); }
inline int32_t load_dword(const void* p) {
  int32_t value;
  __builtin_memcpy(&value, p, sizeof(value));
  return value;
}

// The first count (1..8) int32 of p, 0 beyond.
inline __m256i load_partial_s32(const int32_t* p, int32_t count) {
  if (count >= 8) return load_256(p);
  int32_t lanes[8] = {};
  for (int32_t i = 0; i < count; ++i) lanes[i] = p[i];
  return load_256(lanes);
}

// Eight int32 to int8 with saturation, in the low 64 bits.
inline __m128i narrow_to_s8(__m256i v) {
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  return _mm_packs_epi16(words, words);
}

// Stores the first count (1..8) bytes.
inline void store_partial_s8(int8_t* p, __m128i bytes, int32_t count) {
  if (count >= 8) {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), bytes);
    return;
  }
  int8_t lanes[16];
  _mm_storeu_si128(reinterpret_cast<__m128i*>(lanes), bytes);
  for (int32_t i = 0; i < count; ++i) p[i] = lanes[i];
}

// multiply_by_quantized_multiplier of fixed_point.h on eight lanes with parameters of their own.
class Mbqm8 {
 public:
  Mbqm8() = default;
  Mbqm8(__m256i multiplier, __m256i shift)
      : multiplier_(multiplier),
        multiplier_odd_(_mm256_srli_epi64(multiplier, 32)),
        left_(_mm256_max_epi32(shift, _mm256_setzero_si256())),
        right_(_mm256_max_epi32(_mm256_sub_epi32(_mm256_setzero_si256(), shift),
                                _mm256_setzero_si256())) {
    const __m256i one = _mm256_set1_epi32(1);
    mask_ = _mm256_sub_epi32(_mm256_sllv_epi32(one, right_), one);
    threshold_ = _mm256_srli_epi32(mask_, 1);
  }

  __m256i operator()(__m256i x) const {
    const __m256i scaled = _mm256_sllv_epi32(x, left_);
    // High dwords of 2ab + 2^31, which is (ab + 2^30) >> 31.
    const __m256i half = _mm256_set1_epi64x(int64_t{1} << 31);
    __m256i even = _mm256_mul_epi32(scaled, multiplier_);
    __m256i odd = _mm256_mul_epi32(_mm256_srli_epi64(scaled, 32), multiplier_odd_);
    even = _mm256_add_epi64(_mm256_add_epi64(even, even), half);
    odd = _mm256_add_epi64(_mm256_add_epi64(odd, odd), half);
    const __m256i high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
    const __m256i remainder = _mm256_and_si256(high, mask_);
    const __m256i threshold = _mm256_sub_epi32(threshold_, _mm256_srai_epi32(high, 31));
    const __m256i up = _mm256_cmpgt_epi32(remainder, threshold);  // -1 where it rounds up
    return _mm256_sub_epi32(_mm256_srav_epi32(high, right_), up);
  }

 private:
  __m256i multiplier_, multiplier_odd_, left_, right_, mask_, threshold_;
};

// requantize() of requantize.h on eight neighbouring channels.
class Requantize8 {
 public:
  Requantize8() = default;
  // Channels first .. first + count - 1, count 1..8.
  Requantize8(const Requantization& rq, const int32_t* bias, int32_t first, int32_t count)
      : mbqm_(load_partial_s32(rq.multiplier + first, count),
              load_partial_s32(rq.shift + first, count)),
        bias_(bias == nullptr ? _mm256_setzero_si256() : load_partial_s32(bias + first, count)),
        zero_point_(_mm256_set1_epi32(rq.out_zero_point)),
        low_(_mm256_set1_epi32(rq.act_min)),
        high_(_mm256_set1_epi32(rq.act_max)) {}

  // acc without bias; eight int8 in the low 64 bits.
  __m128i operator()(__m256i acc) const {
    const __m256i y = _mm256_add_epi32(mbqm_(_mm256_add_epi32(acc, bias_)), zero_point_);
    return narrow_to_s8(_mm256_min_epi32(_mm256_max_epi32(y, low_), high_));
  }

 private:
  Mbqm8 mbqm_;
  __m256i bias_, zero_point_, low_, high_;
};

inline uint32_t largest_lane(__m256i v) {
  uint32_t lanes[8];
  store_256(lanes, v);
  uint32_t result = 0;
  for (const uint32_t lane : lanes) result = lane > result ? lane : result;
  return result;
}

// to_error() of fixed_point.h, shift in [0, 24] and |acc| < 2^31 - 2^23, with the running maximum
// of |acc|.
class ErrorStore8 {
 public:
  explicit ErrorStore8(int32_t shift)
      : count_(_mm_cvtsi32_si128(shift)),
        half_(_mm256_set1_epi32(shift > 0 ? 1 << (shift - 1) : 0)),
        largest_(_mm256_setzero_si256()) {}

  __m128i operator()(__m256i acc) {
    largest_ = _mm256_max_epu32(largest_, _mm256_abs_epi32(acc));
    const __m256i shifted = _mm256_sra_epi32(_mm256_add_epi32(acc, half_), count_);
    return _mm_max_epi8(narrow_to_s8(shifted), _mm_set1_epi8(-127));
  }

  __m256i largest_lanes() const { return largest_; }

 private:
  __m128i count_;
  __m256i half_;
  __m256i largest_;
};

// Transposes an 8x8 matrix of int32.
inline void transpose_8x8(__m256i (&m)[8]) {
  __m256i a[8];
  for (int i = 0; i < 8; i += 2) {
    a[i] = _mm256_unpacklo_epi32(m[i], m[i + 1]);
    a[i + 1] = _mm256_unpackhi_epi32(m[i], m[i + 1]);
  }
  __m256i b[8];
  for (int i = 0; i < 8; i += 4) {
    b[i] = _mm256_unpacklo_epi64(a[i], a[i + 2]);
    b[i + 1] = _mm256_unpackhi_epi64(a[i], a[i + 2]);
    b[i + 2] = _mm256_unpacklo_epi64(a[i + 1], a[i + 3]);
    b[i + 3] = _mm256_unpackhi_epi64(a[i + 1], a[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    m[i] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x20);
    m[i + 4] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x31);
  }
}

// Reads errors as int16 lanes, wide ones narrowed as error_value() does.
class ErrorLoader {
 public:
  explicit ErrorLoader(const ErrorView& e)
      : e_(e),
        shift_(_mm_cvtsi32_si128(e.shift)),
        carry_shift_(_mm_cvtsi32_si128(e.shift > 0 ? e.shift - 1 : 0)),
        carry_(_mm256_set1_epi16(e.shift > 0 ? 1 : 0)),
        limit_(_mm256_set1_epi16(static_cast<int16_t>((1 << e.bits) - 1))),
        low_(_mm256_sub_epi16(_mm256_setzero_si256(), limit_)) {}

  // Elements first .. first + 15; load_8 and load_4 read 8 and 4, in the low lanes.
  __m256i load_16(int32_t first) const {
    if (e_.s8 != nullptr) return _mm256_cvtepi8_epi16(load_128(e_.s8 + first));
    return narrow(load_256(e_.s16 + first));
  }
  __m128i load_8(int32_t first) const {
    if (e_.s8 != nullptr) return _mm_cvtepi8_epi16(load_64(e_.s8 + first));
    return narrow(load_128(e_.s16 + first));
  }
  __m128i load_4(int32_t first) const {
    if (e_.s8 != nullptr) return _mm_cvtepi8_epi16(_mm_cvtsi32_si128(load_dword(e_.s8 + first)));
    return narrow(load_64(e_.s16 + first));
  }

  void widen(int32_t first, int32_t n, int16_t* to) const {
    int32_t i = 0;
    for (; i + 16 <= n; i += 16) store_256(to + i, load_16(first + i));
    for (; i < n; ++i) to[i] = static_cast<int16_t>(error_value(e_, first + i));
  }

 private:
  // (e >> shift) + bit shift - 1 of e, so that nothing leaves 16 bits.
  __m256i narrow(__m256i e) const {
    const __m256i up = _mm256_and_si256(_mm256_sra_epi16(e, carry_shift_), carry_);
    const __m256i rounded = _mm256_add_epi16(_mm256_sra_epi16(e, shift_), up);
    return _mm256_max_epi16(_mm256_min_epi16(rounded, limit_), low_);
  }
  __m128i narrow(__m128i e) const {
    return _mm256_castsi256_si128(narrow(_mm256_castsi128_si256(e)));
  }

  ErrorView e_;
  __m128i shift_, carry_shift_;
  __m256i carry_, limit_, low_;
};

// to[i] = from[i] - zero_point.
inline void widen_minus(const int8_t* from, int32_t n, int32_t zero_point, int16_t* to) {
  const __m256i zero = _mm256_set1_epi16(static_cast<int16_t>(zero_point));
  int32_t i = 0;
  for (; i + 16 <= n; i += 16) {
    store_256(to + i, _mm256_sub_epi16(_mm256_cvtepi8_epi16(load_128(from + i)), zero));
  }
  for (; i < n; ++i) to[i] = static_cast<int16_t>(from[i] - zero_point);
}

}  // namespace x86
}  // namespace tbft
