// Scaled depthwise weights and their products with errors, eight channels at a time.
#pragma once

#include "kernels/x86_vector.h"

namespace tbft {
namespace x86 {

// Eight scaled weights as int32 lanes whose upper halves are 0, for multiply_errors.
inline __m256i scaled_weights(const int8_t* w, const int16_t* q) {
  // mulhrs(16w, q) = (16wq + 2^14) >> 15 = (wq + 1024) >> 11.
  const __m128i words = _mm_slli_epi16(_mm_cvtepi8_epi16(load_64(w)), 4);
  return _mm256_cvtepu16_epi32(_mm_mulhrs_epi16(words, load_128(q)));
}

// e * w': the products of the low int16 halves; the upper halves of scaled are 0.
inline __m256i multiply_errors(__m128i e, __m256i scaled) {
  return _mm256_madd_epi16(_mm256_cvtepi16_epi32(e), scaled);
}

}  // namespace x86
}  // namespace tbft
