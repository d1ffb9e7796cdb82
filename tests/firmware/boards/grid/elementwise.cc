// Element-wise kernels. Those without a plain form of their own are compared with their formula in
// docs/numerics.md, one element at a time.
#include "kernels/elementwise.h"

#include "grid.h"
#include "kernels/error_sum.h"
#include "kernels/fixed_point.h"

namespace tbft::grid {
namespace {

constexpr uint32_t kCases = 300;

uint32_t count_of(Random& random) {
  return static_cast<uint32_t>(random.one_in(2) ? random.between(1, 40) : random.between(1, 600));
}

Fill fill_of(Random& random) {
  return random.one_in(3) ? static_cast<Fill>(random.between(0, kFills - 1)) : Fill::kRandom;
}

bool passes(int8_t y, int32_t act_min, int32_t act_max, bool relu6) {
  return y > act_min && (!relu6 || y < act_max);
}

void add_case(Group& group, Random& random, uint32_t n) {
  Buffer<int8_t> a(n);
  Buffer<int8_t> b(n);
  fill(random, fill_of(random), -128, 127, a);
  fill(random, fill_of(random), -128, 127, b);
  const auto multiplier = [&] { return random.between(1 << 30, kInt32Max); };
  const int32_t zero_point = random.between(-128, 127);
  const bool odd = random.one_in(8);
  AddParams p = {random.between(-128, 127),
                 random.between(-128, 127),
                 zero_point,
                 multiplier(),
                 odd ? random.between(-31, 0) : random.between(-3, 0),
                 multiplier(),
                 odd ? random.between(-31, 0) : random.between(-3, 0),
                 random.one_in(20) ? 0 : multiplier(),
                 odd ? random.between(-31, 30) : random.between(-21, -17),
                 random.one_in(2) ? zero_point : -128,
                 127};
  if (random.one_in(4)) p.act_max = random.between(p.act_min, 127);
  Buffer<int8_t> expected(n);
  Buffer<int8_t> y(n);
  add_s8_fwd_ref(p, a.data(), b.data(), n, expected.data());
  add_s8_fwd(p, a.data(), b.data(), n, y.data());
  group.equal("sum", expected, y);
  Buffer<int8_t>& target = random.one_in(2) ? a : b;
  add_s8_fwd(p, a.data(), b.data(), n, target.data());
  group.equal("sum in place", expected, target);
}

template <typename Error>
void activation_case(Group& group, Random& random, uint32_t n, int32_t limit) {
  Buffer<int8_t> y(n);
  Buffer<Error> e(n);
  fill(random, fill_of(random), -128, 127, y);
  fill(random, fill_of(random), -limit, limit, e);
  const int32_t act_min = random.one_in(4) ? -128 : random.between(-128, 126);
  const int32_t act_max = random.between(act_min, 127);
  const bool relu6 = random.one_in(2);
  Buffer<uint8_t> expected_mask(static_cast<size_t>(mask_bytes(n)));
  Buffer<Error> expected(n);
  for (size_t i = 0; i < expected_mask.size(); ++i) expected_mask[i] = 0;
  for (uint32_t i = 0; i < n; ++i) {
    const bool pass = passes(y[i], act_min, act_max, relu6);
    if (pass) expected_mask[i >> 3] = static_cast<uint8_t>(expected_mask[i >> 3] | 1 << (i & 7));
    expected[i] = pass ? e[i] : Error{0};
  }
  Buffer<uint8_t> mask(expected_mask.size());
  Buffer<Error> out(n);
  mask_pack(y.data(), n, act_min, act_max, relu6, mask.data());
  group.equal("mask", expected_mask, mask);
  mask_bwd(e.data(), mask.data(), n, out.data());
  group.equal("error behind a mask", expected, out);
  Buffer<Error> out_by_y(n);
  relu_bwd(e.data(), y.data(), n, act_min, act_max, relu6, out_by_y.data());
  group.equal("error behind an activation", expected, out_by_y);
  relu_bwd(e.data(), y.data(), n, act_min, act_max, relu6, e.data());
  group.equal("error behind an activation, in place", expected, e);
}

int32_t raw(const Errors& e, uint32_t i) {
  return e.view.s8 != nullptr ? e.view.s8[i] : e.view.s16[i];
}

template <typename E>
uint32_t plain_magnitude(const E* e, uint32_t n) {
  uint32_t most = 0;
  for (uint32_t i = 0; i < n; ++i) {
    if (magnitude(e[i]) > most) most = magnitude(e[i]);
  }
  return most;
}

void error_add_case(Group& group, Random& random, uint32_t n) {
  Errors a(random, fill_of(random), n, random.one_in(2), 11);
  Errors b(random, fill_of(random), n, random.one_in(2), 11);
  const int32_t a_exponent = random.between(-30, 10);
  const int32_t b_exponent = a_exponent + random.between(-18, 18);
  const ErrorSum sum = error_sum(a_exponent, b_exponent);
  uint32_t largest = 0;
  const auto added = [&](uint32_t i) {
    return raw(a, i) * sum.factor_a + raw(b, i) * sum.factor_b;
  };
  for (uint32_t i = 0; i < n; ++i) {
    if (magnitude(added(i)) > largest) largest = magnitude(added(i));
  }
  const int32_t shift = needed_shift(largest, 15);
  Buffer<int16_t> expected(n);
  for (uint32_t i = 0; i < n; ++i) expected[i] = to_wide_error(added(i), shift);
  Buffer<int16_t> out(n);
  group.claim("exponent of a sum", error_add(a.view, a_exponent, b.view, b_exponent, n,
                                             out.data()) == sum.exponent + shift);
  group.equal("sum of errors", expected, out);
  if (a.view.s8 == nullptr) {
    (void)error_add(a.view, a_exponent, b.view, b_exponent, n, a.wide.data());
    group.equal("sum of errors in place", expected, a.wide);
    group.claim("largest magnitude",
                error_magnitude(out.data(), n) == plain_magnitude(out.data(), n));
  } else {
    group.claim("largest narrow magnitude",
                error_magnitude(a.view.s8, n) == plain_magnitude(a.view.s8, n));
  }
}

void padding_case(Group& group, Random& random) {
  const int32_t pixels = random.between(1, 20);
  const int32_t channels = random.between(1, 20);
  const int32_t before = random.between(0, 9);
  const int32_t all = before + channels + random.between(0, 9);
  const int32_t zero_point = random.between(-128, 127);
  Buffer<int8_t> x(static_cast<size_t>(pixels * channels));
  Buffer<int8_t> expected(static_cast<size_t>(pixels * all));
  Buffer<int8_t> y(expected.size());
  Buffer<int8_t> back(x.size());
  fill(random, Fill::kRandom, -128, 127, x);
  for (int32_t p = 0; p < pixels; ++p) {
    for (int32_t c = 0; c < all; ++c) {
      const bool real = c >= before && c < before + channels;
      expected[static_cast<size_t>(p * all + c)] =
          real ? x[static_cast<size_t>(p * channels + c - before)]
               : static_cast<int8_t>(zero_point);
    }
  }
  channel_pad_fwd(x.data(), pixels, channels, before, all, zero_point, y.data());
  group.equal("padded channels", expected, y);
  channel_pad_bwd(y.data(), pixels, channels, before, all, back.data());
  group.equal("slice of the channels", x, back);
}

}  // namespace

void elementwise() {
  Group group("add, activations, channel padding");
  for (uint32_t number = 0; number < kCases; ++number) {
    Random random(mix32(0x50000 + number));
    const uint32_t n = count_of(random);
    group.begin(number, static_cast<int32_t>(n), 0);
    add_case(group, random, n);
    activation_case<int8_t>(group, random, n, 127);
    activation_case<int16_t>(group, random, n, 32767);
    padding_case(group, random);
  }
}

void errors() {
  Group group("sums of errors");
  for (uint32_t number = 0; number < kCases; ++number) {
    Random random(mix32(0x60000 + number));
    const uint32_t n = count_of(random);
    group.begin(number, static_cast<int32_t>(n), 0);
    error_add_case(group, random, n);
  }
}

}  // namespace tbft::grid
