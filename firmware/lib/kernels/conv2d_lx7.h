// What the Xtensa convolutions share: widening int8 to int16 four at a time, and the padded image.
#pragma once

#include "kernels/lx7_mac16.h"

#if TBFT_KERNELS_LX7

#include <cstring>

#include "kernels/conv_shape.h"
#include "kernels/error_view.h"
#include "kernels/fixed_point.h"

namespace tbft {
namespace lx7 {

constexpr int32_t kSlackBytes = 16;  // what a padded run and reading ahead may read behind an image

constexpr int32_t round_up(int32_t n, int32_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

inline bool is_word_aligned(const void* p) { return (reinterpret_cast<uintptr_t>(p) & 3) == 0; }

inline uint32_t load_word(const void* p) {
  uint32_t word;
  memcpy(&word, __builtin_assume_aligned(p, 4), sizeof word);
  return word;
}

inline void store_word(void* p, uint32_t word) {
  memcpy(__builtin_assume_aligned(p, 4), &word, sizeof word);
}

// Stores the low half; as an assignment, GCC would reckon everything before it in 16 bits, with an
// instruction more for each step.
inline __attribute__((always_inline)) void store_half(int16_t* p, int32_t value) {
  asm("s16i %1, %2, 0" : "=m"(*p) : "r"(value), "r"(p));
}

// Four elements 0, 1, 2, 3 widened by words lie in the order 0, 2, 1, 3. It does not matter to a
// sum of products whose factors both do.
constexpr int32_t quad_order(int32_t i) { return (i & ~3) | ((i & 1) << 1) | ((i >> 1) & 1); }

// int8 to int16 minus a zero point in [-128, 127], n a multiple of 4, in quad order; both aligned.
inline void widen_quads(const int8_t* from, int32_t n, int32_t zero_point, int16_t* to) {
  const uint32_t offset = static_cast<uint32_t>(zero_point + 128) * 0x10001U;
  for (int32_t k = n >> 2; k > 0; --k, from += 4, to += 4) {
    const uint32_t bytes = load_word(from) ^ 0x80808080U;  // x + 128
    // Where the low half's difference is negative, the high half has lent it one.
    const uint32_t even = (bytes & 0xff00ffU) - offset;
    const uint32_t odd = ((bytes >> 8) & 0xff00ffU) - offset;
    store_word(to, even + 2 * (even & 0x8000U));
    store_word(to + 2, odd + 2 * (odd & 0x8000U));
  }
}

inline void widen(const int8_t* from, int32_t n, int32_t zero_point, int16_t* to) {
  for (int32_t i = 0; i < n; ++i) to[i] = static_cast<int16_t>(from[i] - zero_point);
}

// A wide error as its view reads it, n elements from number first on. Values have 16 bits, so that
// rounding cannot overflow.
template <typename Narrow>
inline void narrow_wide(const ErrorView& e, int32_t first, int32_t n, Narrow* to) {
  const int32_t half = e.shift > 0 ? 1 << (e.shift - 1) : 0;
  const int32_t limit = (1 << e.bits) - 1;
  const int16_t* const from = e.s16 + first;
  for (int32_t i = 0; i < n; ++i) {
    to[i] = static_cast<Narrow>(clamp((from[i] + half) >> e.shift, -limit, limit));
  }
}

// n even, `to` aligned.
inline void fill_zero(int32_t n, int16_t* to) {
  for (int32_t k = n >> 1; k > 0; --k, to += 2) store_word(to, 0);
}

// n even, both aligned; `to` lies before `from`.
inline void move_down(const int16_t* from, int32_t n, int16_t* to) {
  for (int32_t k = n >> 1; k > 0; --k, from += 2, to += 2) store_word(to, load_word(from));
}

}  // namespace lx7
}  // namespace tbft

#endif  // TBFT_KERNELS_LX7
