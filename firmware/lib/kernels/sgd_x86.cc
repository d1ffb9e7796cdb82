// Weight update on x86 (AVX2 and up), sixteen weights at a time.
#include "kernels/dispatch.h"

#if TBFT_KERNELS_X86

#include "kernels/sgd_step.h"
#include "kernels/x86_vector.h"

namespace tbft {
namespace {

__m256i mix32_lanes(__m256i x) {
  x = _mm256_xor_si256(x, _mm256_srli_epi32(x, 16));
  x = _mm256_mullo_epi32(x, _mm256_set1_epi32(0x7feb352d));
  x = _mm256_xor_si256(x, _mm256_srli_epi32(x, 15));
  x = _mm256_mullo_epi32(x, _mm256_set1_epi32(static_cast<int32_t>(0x846ca68bU)));
  return _mm256_xor_si256(x, _mm256_srli_epi32(x, 16));
}

// clamp(rshift_round_64(acc * factor, shift), -2^24, 2^24), shift in [0, 62].
class Step8 {
 public:
  explicit Step8(const StepFactor& factor)
      : value_(_mm256_set1_epi64x(factor.value)),
        count_(_mm_cvtsi32_si128(factor.shift)),
        // AVX2 has no arithmetic 64-bit shift: 2^63 is added before a logical one, and its shifted
        // value taken off again. |product| <= 2^62 and half <= 2^61 leave room for it.
        before_(_mm256_set1_epi64x(
            static_cast<int64_t>((uint64_t{1} << 63) + ((uint64_t{1} << factor.shift) >> 1)))),
        after_(_mm256_set1_epi64x(static_cast<int64_t>((uint64_t{1} << 63) >> factor.shift))) {}

  __m256i operator()(__m256i acc) const {
    const __m256i even = narrow(_mm256_mul_epi32(acc, value_));
    const __m256i odd = narrow(_mm256_mul_epi32(_mm256_srli_epi64(acc, 32), value_));
    return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
  }

 private:
  __m256i narrow(__m256i product) const {
    const __m256i high = _mm256_set1_epi64x(kWeightStepLimit);
    const __m256i low = _mm256_set1_epi64x(-kWeightStepLimit);
    __m256i d = _mm256_srl_epi64(_mm256_add_epi64(product, before_), count_);
    d = _mm256_sub_epi64(d, after_);
    d = _mm256_blendv_epi8(d, high, _mm256_cmpgt_epi64(d, high));
    return _mm256_blendv_epi8(d, low, _mm256_cmpgt_epi64(low, d));
  }

  __m256i value_;
  __m128i count_;
  __m256i before_, after_;
};

struct EvenOdd {
  __m256i even, odd;
};

// Sixteen gradients: those of even and those of odd position.
EvenOdd load_16(const int32_t* g) {
  const __m256 a = _mm256_castsi256_ps(x86::load_256(g));
  const __m256 b = _mm256_castsi256_ps(x86::load_256(g + 8));
  const __m256i even = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88));
  const __m256i odd = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xdd));
  return {_mm256_permute4x64_epi64(even, 0xd8), _mm256_permute4x64_epi64(odd, 0xd8)};
}

// The weights of elements first, first + 1, ... ; first is even, so that each pair shares one hash.
uint32_t step_whole_vectors(const StepFactor& factor, uint32_t key, const int32_t* g, uint32_t n,
                            uint32_t first, int8_t* w) {
  const Step8 step(factor);
  const __m256i lane = _mm256_mullo_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
                                          _mm256_set1_epi32(static_cast<int32_t>(kGolden)));
  const __m256i low_half = _mm256_set1_epi32(0xffff);
  uint32_t j = 0;
  for (; j + 16 <= n; j += 16) {
    const uint32_t counter = key + ((first + j) >> 1) * kGolden;
    const __m256i random =
        mix32_lanes(_mm256_add_epi32(_mm256_set1_epi32(static_cast<int32_t>(counter)), lane));
    const EvenOdd acc = load_16(g + j);
    __m256i even = _mm256_add_epi32(step(acc.even), _mm256_and_si256(random, low_half));
    __m256i odd = _mm256_add_epi32(step(acc.odd), _mm256_srli_epi32(random, 16));
    // Changes are at most 2^8 + 1: bits 16..31 of each sum, put side by side.
    const __m256i change = _mm256_blend_epi16(_mm256_srli_epi32(even, 16), odd, 0xaa);
    const __m256i before = _mm256_cvtepi8_epi16(x86::load_128(w + first + j));
    const __m256i after = _mm256_sub_epi16(before, change);
    const __m128i bytes =
        _mm_packs_epi16(_mm256_castsi256_si128(after), _mm256_extracti128_si256(after, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(w + first + j),
                     _mm_max_epi8(bytes, _mm_set1_epi8(-127)));
  }
  return j;
}

}  // namespace

bool sgd_row_x86(const StepFactor& factor, uint32_t key, const int32_t* g, uint32_t n,
                 const RowIndex& index, int8_t* w) {
  if (factor.value == 0 || factor.shift > 62) return true;  // every step rounds to 0
  if (factor.shift < 0 || index.stride != 1) return false;
  uint32_t j = 0;
  const auto single = [&](uint32_t i) {
    const uint32_t element = index.first + i;
    w[element] = stepped_weight(w[element], g[i], factor, key, element);
  };
  if (index.first % 2 == 1 && n > 0) single(j++);
  j += step_whole_vectors(factor, key, g + j, n - j, index.first + j, w);
  for (; j < n; ++j) single(j);
  return true;
}

}  // namespace tbft

#endif  // TBFT_KERNELS_X86
