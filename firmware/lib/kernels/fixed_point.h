// Fixed-point primitives of docs/numerics.md. Right shifts of negative numbers are arithmetic.
#pragma once

#include <cstdint>

namespace tbft {

constexpr int32_t kInt32Max = 0x7fffffff;
constexpr int32_t kInt32Min = -kInt32Max - 1;

template <typename T>
struct SameType {
  using Type = T;
};

// The value alone says what T is: int32_t is long with some compilers, and a literal is an int.
template <typename T>
constexpr T clamp(T value, typename SameType<T>::Type low, typename SameType<T>::Type high) {
  return value < low ? low : (value > high ? high : value);
}

// a / 2^n rounded half up, n >= 0; a shift of 31 or more gives 0. Written so that no intermediate
// overflows.
constexpr int32_t rshift_round(int32_t a, int32_t n) {
  if (n <= 0) return a;
  return n > 30 ? 0 : (a >> n) + ((a >> (n - 1)) & 1);
}

// The same in 64 bit, n in [0, 63].
constexpr int64_t rshift_round_64(int64_t a, int32_t n) {
  return n == 0 ? a : (a >> n) + ((a >> (n - 1)) & 1);
}

constexpr int32_t bitlen(uint64_t n) { return n == 0 ? 0 : 64 - __builtin_clzll(n); }

constexpr uint32_t magnitude(int32_t a) {
  return a < 0 ? uint32_t{0} - static_cast<uint32_t>(a) : static_cast<uint32_t>(a);
}

// Shift that brings integers of magnitude up to largest into bits bits and a sign (with clamping of
// what rounds up to 2^bits).
constexpr int32_t needed_shift(uint32_t largest, int32_t bits = 7) {
  const int32_t n = bitlen(largest) - bits;
  return n > 0 ? n : 0;
}

constexpr int8_t to_error(int32_t acc, int32_t shift) {
  return static_cast<int8_t>(clamp(rshift_round(acc, shift), -127, 127));
}

constexpr int16_t to_wide_error(int32_t acc, int32_t shift) {
  return static_cast<int16_t>(clamp(rshift_round(acc, shift), -32767, 32767));
}

// Whether an error written with this shift may stay, where needed would have been exact: nothing
// overflows, and at most one bit is lost.
constexpr bool shift_serves(int32_t shift, int32_t needed) {
  return needed <= shift && shift <= needed + 1;
}

constexpr int32_t kMaxNarrowShift = 24;  // of the largest sums there are: below 2^31

// Base-2 logarithm in eighths, to the eighth below and linear in between; 0 for 0.
constexpr uint8_t level_of(uint32_t largest) {
  if (largest == 0) return 0;
  const int32_t b = bitlen(largest) - 1;
  const uint32_t eighths = (b >= 3 ? largest >> (b - 3) : largest << (3 - b)) & 7U;
  return static_cast<uint8_t>(8 * b + static_cast<int32_t>(eighths));
}

constexpr uint8_t kMaxLevel = level_of(0x7fffffffU);

// The gain of an input gradient, 0 for none yet, is the level of its sums above that of the errors
// they are sums of (`read`, the largest). The shift that the next sums will need, or one more:
constexpr int32_t expected_shift(uint8_t gain, uint32_t read) {
  return clamp(((int32_t{gain} + level_of(read)) >> 3) - 6, 0, kMaxNarrowShift);
}

// The gain after sums up to largest: a quarter of the way to theirs.
constexpr uint8_t gain_after(uint8_t gain, uint32_t read, uint32_t largest) {
  if (largest == 0) return gain;
  const int32_t above = int32_t{level_of(largest)} - level_of(read);
  const int32_t seen = above > 1 ? above : 1;
  return static_cast<uint8_t>(gain == 0 ? seen : gain + ((seen - gain + 2) >> 2));
}

// Wrap-around addition: sums that a malformed model makes too large stay defined.
constexpr int32_t wrapping_add(int32_t a, int32_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
}

constexpr int32_t saturating_rounding_doubling_high_mul(int32_t a, int32_t b) {
  if (a == kInt32Min && b == kInt32Min) return kInt32Max;
  // Truncation of (ab + nudge) / 2^31 with TFLite's sign-dependent nudge is the floor of (ab +
  // 2^30) / 2^31.
  return static_cast<int32_t>((int64_t{a} * b + (int64_t{1} << 30)) >> 31);
}

// x / 2^n rounded to nearest, ties away from zero; n in [0, 31].
constexpr int32_t rounding_divide_by_pot(int32_t x, int32_t n) {
  const int32_t mask = static_cast<int32_t>((uint32_t{1} << n) - 1);
  const int32_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);
  return (x >> n) + ((x & mask) > threshold ? 1 : 0);
}

// TFLite's MultiplyByQuantizedMultiplier, double rounding; shift in [-31, 30]. x * 2^shift wraps to
// 32 bit.
constexpr int32_t multiply_by_quantized_multiplier(int32_t x, int32_t multiplier, int32_t shift) {
  const int32_t left = shift > 0 ? shift : 0;
  const int32_t right = shift > 0 ? 0 : -shift;
  const int32_t scaled = static_cast<int32_t>(static_cast<uint32_t>(x) << left);
  return rounding_divide_by_pot(saturating_rounding_doubling_high_mul(scaled, multiplier), right);
}

// The high half of a * b for |a| <= 2^30 and 0 <= b < 2^31. Where there is no instruction for it
// (Xtensa cores without MULSH, on which a 64-bit product is a call), four products of 16 bits do:
// with a's low half signed, no sum of theirs overflows.
constexpr int32_t multiply_high(int32_t a, int32_t b) {
#if defined(__XTENSA__) && !__XCHAL_HAVE_MUL32_HIGH
  const int32_t a_low = static_cast<int16_t>(a);
  const int32_t a_high = (a + (1 << 15)) >> 16;
  const int32_t b_low = b & 0xffff;
  const int32_t b_high = b >> 16;
  const int32_t middle = a_high * b_low + a_low * b_high + ((a_low * b_low) >> 16);
  return a_high * b_high + (middle >> 16);
#else
  return static_cast<int32_t>((int64_t{a} * b) >> 32);
#endif
}

// Wellons' lowbias32.
constexpr uint32_t mix32(uint32_t x) {
  x ^= x >> 16;
  x *= 0x7feb352dU;
  x ^= x >> 15;
  x *= 0x846ca68bU;
  x ^= x >> 16;
  return x;
}

constexpr uint32_t kGolden = 0x9e3779b9U;

constexpr uint32_t random_key(uint32_t seed, uint32_t step, uint32_t tensor) {
  return mix32(mix32(mix32(seed ^ kGolden) + step) + tensor);
}

// 16 random bits of the tensor's element with this number.
constexpr uint32_t random_bits16(uint32_t key, uint32_t index) {
  return (mix32(key + (index >> 1) * kGolden) >> (16 * (index & 1))) & 0xffffU;
}

}  // namespace tbft
