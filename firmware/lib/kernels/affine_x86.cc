// The affine's input gradient on x86 (AVX2 and up), eight channels at a time.
#include "kernels/dispatch.h"

#if TBFT_KERNELS_X86

#include "kernels/error_sum.h"
#include "kernels/x86_depthwise.h"

namespace tbft {
namespace {

constexpr int32_t kMaxBlocks = 64;  // of eight channels; their scaled weights are kept on the stack

// rshift_round of eight lanes, |a| < 2^31 - 2^(n - 1).
class RoundingShift8 {
 public:
  explicit RoundingShift8(int32_t n)
      : count_(_mm_cvtsi32_si128(n)), half_(_mm256_set1_epi32(n > 0 ? 1 << (n - 1) : 0)) {}
  __m256i operator()(__m256i a) const {
    return _mm256_sra_epi32(_mm256_add_epi32(a, half_), count_);
  }

 private:
  __m128i count_;
  __m256i half_;
};

// Saturated to [-32767, 32767].
__m128i narrow_to_s16(__m256i v) {
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  return _mm_max_epi16(words, _mm_set1_epi16(-32767));
}

void store_s16(int16_t* to, __m256i v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), narrow_to_s16(v));
}

// Calls visit(i, acc) for elements i .. i + 7 of every block.
template <typename Visit>
inline void for_each_block(int32_t pixels, int32_t blocks, const x86::ErrorLoader& e_y,
                           const __m256i* scaled, Visit visit) {
  int32_t i = 0;
  for (int32_t p = 0; p < pixels; ++p) {
    for (int32_t b = 0; b < blocks; ++b, i += 8) {
      visit(i, x86::multiply_errors(e_y.load_8(i), scaled[b]));
    }
  }
}

template <typename Value>
inline uint32_t largest_of(int32_t pixels, int32_t blocks, const x86::ErrorLoader& e_y,
                           const __m256i* scaled, Value value) {
  __m256i largest = _mm256_setzero_si256();
  for_each_block(pixels, blocks, e_y, scaled, [&](int32_t i, __m256i acc) {
    largest = _mm256_max_epu32(largest, _mm256_abs_epi32(value(i, acc)));
  });
  return x86::largest_lane(largest);
}

}  // namespace

bool affine_bwd_x86(int32_t pixels, int32_t channels, const ErrorView& e_y, int32_t exponent,
                    const int8_t* w, const int16_t* q, int32_t t, const ErrorView& add,
                    int32_t add_exponent, int16_t* e_x, int32_t* result) {
  if (channels % 8 != 0 || channels > 8 * kMaxBlocks) return false;
  const int32_t blocks = channels / 8;
  __m256i scaled[kMaxBlocks];
  for (int32_t b = 0; b < blocks; ++b) scaled[b] = x86::scaled_weights(w + 8 * b, q + 8 * b);
  const x86::ErrorLoader errors(e_y);
  const uint32_t largest =
      largest_of(pixels, blocks, errors, scaled, [](int32_t, __m256i acc) { return acc; });
  const int32_t shift = needed_shift(largest, 15);
  const int32_t own_exponent = exponent + t + shift;
  const RoundingShift8 own_shift(shift);
  if (add.s8 == nullptr && add.s16 == nullptr) {
    for_each_block(pixels, blocks, errors, scaled,
                   [&](int32_t i, __m256i acc) { store_s16(e_x + i, own_shift(acc)); });
    *result = own_exponent;
    return true;
  }
  const ErrorSum sum = error_sum(own_exponent, add_exponent);
  const __m256i factor_a = _mm256_set1_epi32(sum.factor_a);
  const __m256i factor_b = _mm256_set1_epi32(sum.factor_b);
  const auto added = [&](int32_t i, __m256i acc) {
    const __m256i a = _mm256_cvtepi16_epi32(narrow_to_s16(own_shift(acc)));
    const __m256i b = add.s8 != nullptr ? _mm256_cvtepi8_epi32(x86::load_64(add.s8 + i))
                                        : _mm256_cvtepi16_epi32(x86::load_128(add.s16 + i));
    return _mm256_add_epi32(_mm256_mullo_epi32(a, factor_a), _mm256_mullo_epi32(b, factor_b));
  };
  const int32_t sum_shift = needed_shift(largest_of(pixels, blocks, errors, scaled, added), 15);
  const RoundingShift8 final_shift(sum_shift);
  for_each_block(pixels, blocks, errors, scaled,
                 [&](int32_t i, __m256i acc) { store_s16(e_x + i, final_shift(added(i, acc))); });
  *result = sum.exponent + sum_shift;
  return true;
}

}  // namespace tbft

#endif  // TBFT_KERNELS_X86
