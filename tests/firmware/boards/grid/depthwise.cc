// Depthwise convolutions and affines (1x1): the fast form and the plain one.
#include "kernels/depthwise.h"

#include "grid.h"
#include "kernels/fixed_point.h"

namespace tbft::grid {
namespace {

constexpr uint32_t kCases = 240;

size_t input_size(const Conv2dShape& s) { return static_cast<size_t>(s.in_h * s.in_w * s.in_c); }
size_t output_size(const Conv2dShape& s) {
  return static_cast<size_t>(s.out_h * s.out_w * s.out_c);
}
size_t weight_size(const Conv2dShape& s) {
  return static_cast<size_t>(s.kernel_h * s.kernel_w * s.in_c);
}

// Every third case an affine over a whole image.
Conv2dShape shape_of(uint32_t number, Random& random) {
  Conv2dShape s = random_shape(random, true);
  if (number % 3 != 0) return s;
  return {s.in_h, s.in_w, s.in_c, s.in_h, s.in_w, s.in_c, 1, 1, 1, 1, 0, 0};
}

Fill fill_of(Random& random) {
  return random.one_in(3) ? static_cast<Fill>(random.between(0, kFills - 1)) : Fill::kRandom;
}

void forward_case(Group& group, const Conv2dShape& s, Random& random, Fill how) {
  Buffer<int8_t> x(input_size(s));
  Buffer<int8_t> w(weight_size(s));
  Buffer<int32_t> biases(static_cast<size_t>(s.in_c));
  fill(random, how, -128, 127, x);
  fill(random, how, -127, 127, w);
  fill(random, Fill::kRandom, -(1 << 14), 1 << 14, biases);
  const int32_t* const bias = random.one_in(6) ? nullptr : biases.data();
  const Requantizer q(random, s.in_c);
  Buffer<int8_t> expected(output_size(s));
  Buffer<int8_t> y(output_size(s));
  depthwise_s8_fwd_ref(s, x.data(), w.data(), bias, q.rq, expected.data());
  depthwise_s8_fwd(s, x.data(), w.data(), bias, q.rq, y.data());
  group.equal("y", expected, y);
  if (s.kernel_h == 1 && s.kernel_w == 1 && s.stride_h == 1 && s.stride_w == 1 &&
      s.out_h == s.in_h && s.out_w == s.in_w) {
    depthwise_s8_fwd(s, x.data(), w.data(), bias, q.rq, x.data());
    group.equal("y in place", expected, x);
  }
}

void gradient_case(Group& group, const Conv2dShape& s, Random& random, Fill how) {
  const Errors e(random, how, output_size(s), random.one_in(2), 7);
  Buffer<int8_t> x(input_size(s));
  Buffer<int8_t> w(weight_size(s));
  const size_t channels = static_cast<size_t>(s.in_c);
  Buffer<int16_t> q(channels);
  fill(random, how, -128, 127, x);
  fill(random, how, -127, 127, w);
  fill(random, how == Fill::kRandom ? how : Fill::kHighest, 0, 32767, q);
  const int32_t shift = random.between(0, 16);
  Buffer<int8_t> expected(input_size(s));
  Buffer<int8_t> e_x(input_size(s));
  const uint32_t largest =
      depthwise_s8_bwd_input_ref(s, e.view, w.data(), q.data(), shift, expected.data());
  group.claim("largest magnitude",
              depthwise_s8_bwd_input(s, e.view, w.data(), q.data(), shift, e_x.data()) == largest);
  group.equal("e_x", expected, e_x);

  const int32_t zero_point = random.between(-128, 127);
  Buffer<int32_t> g(weight_size(s));
  Buffer<int32_t> found(weight_size(s));
  Buffer<int32_t> bias(channels);
  Buffer<int32_t> found_bias(channels);
  depthwise_s8_bwd_weight_ref(s, e.view, x.data(), zero_point, g.data(), bias.data());
  depthwise_s8_bwd_weight(s, e.view, x.data(), zero_point, found.data(), found_bias.data());
  group.equal("weight gradient", g, found);
  group.equal("bias gradient", bias, found_bias);
  bias_s8_bwd(e.view, s.out_h * s.out_w, s.in_c, found_bias.data());
  group.equal("bias gradient alone", bias, found_bias);
}

}  // namespace

void depthwise() {
  Group group("depthwise conv2d");
  for (uint32_t number = 0; number < kCases; ++number) {
    Random random(mix32(0x30000 + number));
    const Conv2dShape s = shape_of(number, random);
    group.begin(number, s);
    forward_case(group, s, random, fill_of(random));
    gradient_case(group, s, random, fill_of(random));
  }
}

void affine() {
  Group group("affine input gradient");
  for (uint32_t number = 0; number < kCases; ++number) {
    Random random(mix32(0x40000 + number));
    const int32_t pixels = random.between(1, 70);
    const int32_t channels = random.one_in(2) ? 8 * random.between(1, 8) : random.between(1, 40);
    group.begin(number, pixels, channels);
    const size_t count = static_cast<size_t>(pixels * channels);
    const Fill how = fill_of(random);
    const Errors e(random, how, count, random.one_in(2), 7);
    Buffer<int8_t> w(static_cast<size_t>(channels));
    Buffer<int16_t> q(static_cast<size_t>(channels));
    fill(random, how, -127, 127, w);
    fill(random, how == Fill::kRandom ? how : Fill::kHighest, 0, 32767, q);
    const int32_t exponent = random.between(-40, 10);
    const int32_t t = random.between(-20, 5);
    const int32_t add_exponent = exponent + t + random.between(-20, 20);
    const bool add_is_wide = random.one_in(2);
    Errors add(random, fill_of(random), count, add_is_wide, 11);
    if (random.one_in(4)) add.view = {};
    Buffer<int16_t> expected(count);
    Buffer<int16_t> e_x(count);
    const int32_t result = affine_bwd_ref(pixels, channels, e.view, exponent, w.data(), q.data(), t,
                                          add.view, add_exponent, expected.data());
    group.claim("exponent", affine_bwd(pixels, channels, e.view, exponent, w.data(), q.data(), t,
                                       add.view, add_exponent, e_x.data()) == result);
    group.equal("e_x", expected, e_x);
    if (add_is_wide && add.view.s16 != nullptr) {
      group.claim("exponent in place",
                  affine_bwd(pixels, channels, e.view, exponent, w.data(), q.data(), t, add.view,
                             add_exponent, add.wide.data()) == result);
      group.equal("e_x in place", expected, add.wide);
    }
  }
}

}  // namespace tbft::grid
