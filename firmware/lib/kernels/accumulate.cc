#include "kernels/fixed_point.h"
#include "kernels/update.h"

namespace tbft {
namespace {

int32_t shift_up_to(int32_t largest_bits, int32_t room) {
  return largest_bits > room ? largest_bits - room : 0;
}

uint32_t largest_magnitude(const int32_t* g, uint32_t n) {
  uint32_t largest = 0;
  for (uint32_t i = 0; i < n; ++i) {
    const uint32_t m = magnitude(g[i]);
    largest = m > largest ? m : largest;
  }
  return largest;
}

// A number of the same length in bits, 0 only if all are: one instruction a number less.
uint32_t magnitude_bits(const int32_t* g, uint32_t n) {
  uint32_t bits = 0;
  for (uint32_t i = 0; i < n; ++i) bits |= magnitude(g[i]);
  return bits;
}

// rshift_round(a, n) for n >= 0 without a branch: n - 1 places, then the last one, rounded up (a +
// 1 would overflow for n = 1 and the largest int32, which is shifted by 17 at least). Shifting
// everything out leaves 0 or -1, which rounds to 0.
struct RoundingShift {
  explicit RoundingShift(int32_t n)
      : first(n > 30 ? 31 : (n > 0 ? n - 1 : 0)), last(n > 0 ? 1 : 0) {}
  int32_t operator()(int32_t a) const { return ((a >> first) + last) >> last; }
  int32_t first;
  int32_t last;
};

}  // namespace

void accumulate_row_ref(const int32_t* g, int32_t g_exponent, uint32_t n, int16_t* acc,
                        int16_t* exponent) {
  const uint32_t largest = largest_magnitude(g, n);
  if (largest == 0) return;
  const bool empty = *exponent == kEmptyExponent;
  const int32_t own = empty ? 0 : *exponent;
  int32_t common = g_exponent + shift_up_to(bitlen(largest), 14);
  if (!empty && own > common) common = own;
  uint32_t largest_sum = 0;
  for (uint32_t i = 0; i < n; ++i) {
    const int32_t a = empty ? 0 : rshift_round(acc[i], common - own);
    const uint32_t sum = magnitude(a + rshift_round(g[i], common - g_exponent));
    if (sum > largest_sum) largest_sum = sum;
  }
  const int32_t halve = largest_sum > 32767 ? 1 : 0;
  for (uint32_t i = 0; i < n; ++i) {
    const int32_t a = empty ? 0 : rshift_round(acc[i], common - own);
    const int32_t sum = a + rshift_round(g[i], common - g_exponent);
    acc[i] = static_cast<int16_t>(rshift_round(sum, halve));
  }
  *exponent = static_cast<int16_t>(common + halve);
}

void accumulate_row(const int32_t* g, int32_t g_exponent, uint32_t n, int16_t* acc,
                    int16_t* exponent) {
  const uint32_t largest = magnitude_bits(g, n);
  if (largest == 0) return;
  int32_t common = g_exponent + shift_up_to(bitlen(largest), 14);
  if (*exponent == kEmptyExponent) {
    const RoundingShift shift_g(common - g_exponent);
    // |sum| <= 2^14: the doubling case cannot arise.
    for (uint32_t i = 0; i < n; ++i) acc[i] = static_cast<int16_t>(shift_g(g[i]));
    *exponent = static_cast<int16_t>(common);
    return;
  }
  const int32_t own = *exponent;
  if (own > common) common = own;
  const RoundingShift shift_acc(common - own);
  const RoundingShift shift_g(common - g_exponent);
  // Bits above the 15 of some sum, negative ones less 1 and turned round, so that -32768 counts.
  int32_t bits = 0;
  for (uint32_t i = 0; i < n; ++i) {
    const int32_t sum = shift_acc(acc[i]) + shift_g(g[i]);
    const int32_t beyond = sum + (sum >> 31);
    bits |= beyond ^ (beyond >> 31);
  }
  const int32_t halve = bits > 32767 ? 1 : 0;
  for (uint32_t i = 0; i < n; ++i) {
    const int32_t sum = shift_acc(acc[i]) + shift_g(g[i]);
    acc[i] = static_cast<int16_t>((sum + halve) >> halve);
  }
  *exponent = static_cast<int16_t>(common + halve);
}

void accumulate_bias(int32_t g, int32_t g_exponent, int32_t* acc, int16_t* exponent) {
  const uint32_t largest = magnitude(g);
  if (largest == 0) return;
  const bool empty = *exponent == kEmptyExponent;
  const int32_t own = empty ? 0 : *exponent;
  int32_t common = g_exponent + shift_up_to(bitlen(largest), 30);
  if (!empty && own > common) common = own;
  const int64_t a = empty ? 0 : rshift_round(*acc, common - own);
  const int64_t sum = a + rshift_round(g, common - g_exponent);
  const int32_t halve = (sum > kInt32Max || sum < -int64_t{kInt32Max}) ? 1 : 0;
  *acc = static_cast<int32_t>(rshift_round_64(sum, halve));
  *exponent = static_cast<int16_t>(common + halve);
}

}  // namespace tbft
