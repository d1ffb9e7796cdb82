// Input gradient of the affine (1x1 depthwise convolution, stride 1), with the addition that
// usually follows it.
#include "kernels/depthwise.h"
#include "kernels/dispatch.h"
#include "kernels/error_sum.h"
#include "kernels/fixed_point.h"
#include "kernels/scaled_weight.h"

namespace tbft {
namespace {

int32_t raw_error(const ErrorView& e, int32_t i) { return e.s8 != nullptr ? e.s8[i] : e.s16[i]; }

// Calls visit(i, acc) for every element; acc is the exact input gradient, at most 127 * 2032.
template <typename Visit>
void for_each_gradient(int32_t pixels, int32_t channels, const ErrorView& e_y, const int8_t* w,
                       const int16_t* q, Visit visit) {
  for (int32_t p = 0; p < pixels; ++p) {
    for (int32_t c = 0; c < channels; ++c) {
      const int32_t i = p * channels + c;
      visit(i, error_value(e_y, i) * scaled_weight(w[c], q[c]));
    }
  }
}

}  // namespace

int32_t affine_bwd_ref(int32_t pixels, int32_t channels, const ErrorView& e_y, int32_t exponent,
                       const int8_t* w, const int16_t* q, int32_t t, const ErrorView& add,
                       int32_t add_exponent, int16_t* e_x) {
  uint32_t largest = 0;
  for_each_gradient(pixels, channels, e_y, w, q, [&](int32_t, int32_t acc) {
    if (magnitude(acc) > largest) largest = magnitude(acc);
  });
  const int32_t shift = needed_shift(largest, 15);
  const int32_t own_exponent = exponent + t + shift;
  if (add.s8 == nullptr && add.s16 == nullptr) {
    for_each_gradient(pixels, channels, e_y, w, q,
                      [&](int32_t i, int32_t acc) { e_x[i] = to_wide_error(acc, shift); });
    return own_exponent;
  }
  // The same two roundings as affine_bwd without an addition and error_add after it.
  const ErrorSum sum = error_sum(own_exponent, add_exponent);
  const auto added = [&](int32_t i, int32_t acc) {
    return to_wide_error(acc, shift) * sum.factor_a + raw_error(add, i) * sum.factor_b;
  };
  uint32_t largest_sum = 0;
  for_each_gradient(pixels, channels, e_y, w, q, [&](int32_t i, int32_t acc) {
    if (magnitude(added(i, acc)) > largest_sum) largest_sum = magnitude(added(i, acc));
  });
  const int32_t sum_shift = needed_shift(largest_sum, 15);
  for_each_gradient(pixels, channels, e_y, w, q, [&](int32_t i, int32_t acc) {
    e_x[i] = to_wide_error(added(i, acc), sum_shift);
  });
  return sum.exponent + sum_shift;
}

int32_t affine_bwd(int32_t pixels, int32_t channels, const ErrorView& e_y, int32_t exponent,
                   const int8_t* w, const int16_t* q, int32_t t, const ErrorView& add,
                   int32_t add_exponent, int16_t* e_x) {
#if TBFT_KERNELS_X86
  int32_t result = 0;
  if (affine_bwd_x86(pixels, channels, e_y, exponent, w, q, t, add, add_exponent, e_x, &result)) {
    return result;
  }
#endif
  return affine_bwd_ref(pixels, channels, e_y, exponent, w, q, t, add, add_exponent, e_x);
}

}  // namespace tbft
