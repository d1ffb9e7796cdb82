// Accumulation over a batch and integer SGD: the fast form and the plain one.
#include "grid.h"
#include "kernels/fixed_point.h"
#include "kernels/update.h"

namespace tbft::grid {
namespace {

constexpr uint32_t kCases = 300;
constexpr uint32_t kAdditions = 4;  // samples accumulated in a row

Fill fill_of(Random& random) {
  return random.one_in(3) ? static_cast<Fill>(random.between(0, kFills - 1)) : Fill::kRandom;
}

void accumulate_case(Group& group, Random& random, uint32_t n) {
  Buffer<int32_t> g(n);
  Buffer<int16_t> expected(n);
  Buffer<int16_t> acc(n);
  int16_t expected_exponent = kEmptyExponent;
  int16_t exponent = kEmptyExponent;
  for (uint32_t i = 0; i < n; ++i) expected[i] = acc[i] = 12345;  // an empty row is not read
  for (uint32_t k = 0; k < kAdditions; ++k) {
    const int32_t limit = random.one_in(4) ? kInt32Max : 1 << random.between(1, 24);
    fill(random, fill_of(random), -limit, limit, g);
    const int32_t g_exponent = random.between(-30, 5);
    accumulate_row_ref(g.data(), g_exponent, n, expected.data(), &expected_exponent);
    accumulate_row(g.data(), g_exponent, n, acc.data(), &exponent);
    group.claim("exponent of an accumulator", exponent == expected_exponent);
    group.equal("accumulator", expected, acc);
  }
}

NormalizedPair pair(Random& random, int32_t low, int32_t high) {
  if (random.one_in(20)) return {0, 0};
  return {random.between(1 << 30, kInt32Max), random.between(low, high)};
}

RowIndex index_of(Random& random) {
  return {static_cast<uint32_t>(random.between(0, 50)),
          static_cast<uint32_t>(random.one_in(3) ? random.between(2, 9) : 1)};
}

size_t tensor_size(const RowIndex& index, uint32_t n) {
  return index.first + (n - 1) * index.stride + 1;
}

// Batch updates: what is left in the accumulator counts as much as the weights.
void apply_case(Group& group, Random& random, uint32_t n) {
  const RowIndex index = index_of(random);
  Buffer<int8_t> expected(tensor_size(index, n));
  Buffer<int8_t> w(expected.size());
  Buffer<int16_t> expected_acc(n);
  Buffer<int16_t> acc(n);
  fill(random, fill_of(random), -127, 127, expected);
  fill(random, fill_of(random), -32767, 32767, expected_acc);
  for (size_t i = 0; i < w.size(); ++i) w[i] = expected[i];
  for (uint32_t i = 0; i < n; ++i) acc[i] = expected_acc[i];
  const NormalizedPair lr = pair(random, -20, 0);
  const NormalizedPair rho = pair(random, -4, 12);
  int16_t expected_exponent =
      static_cast<int16_t>(random.one_in(6) ? random.between(-60, 60) : random.between(-24, -4));
  int16_t exponent = expected_exponent;
  apply_row_s8_ref(lr, rho, n, index, expected_acc.data(), &expected_exponent, expected.data());
  apply_row_s8(lr, rho, n, index, acc.data(), &exponent, w.data());
  group.equal("weights", expected, w);
  group.claim("exponent of what is left", exponent == expected_exponent);
  // Nobody reads the accumulator of a row that became empty.
  if (exponent != kEmptyExponent) group.equal("what is left", expected_acc, acc);
}

void immediate_case(Group& group, Random& random, uint32_t n) {
  const RowIndex index = index_of(random);
  Buffer<int8_t> expected(tensor_size(index, n));
  Buffer<int8_t> w(expected.size());
  Buffer<int32_t> g(n);
  fill(random, fill_of(random), -127, 127, expected);
  const int32_t limit = random.one_in(4) ? kInt32Max : 1 << random.between(8, 30);
  fill(random, fill_of(random), -limit, limit, g);
  for (size_t i = 0; i < w.size(); ++i) w[i] = expected[i];
  const SgdStep step = {pair(random, -20, 0), random.bits()};
  const NormalizedPair rho = pair(random, -4, 12);
  const int32_t exponent = random.one_in(6) ? random.between(-60, 60) : random.between(-34, -8);
  sgd_row_s8_ref(step, rho, g.data(), exponent, n, index, expected.data());
  sgd_row_s8(step, rho, g.data(), exponent, n, index, w.data());
  group.equal("weights updated at once", expected, w);
}

}  // namespace

void updates() {
  Group group("accumulation and update");
  for (uint32_t number = 0; number < kCases; ++number) {
    Random random(mix32(0x70000 + number));
    const uint32_t n =
        static_cast<uint32_t>(random.one_in(2) ? random.between(1, 40) : random.between(1, 600));
    group.begin(number, static_cast<int32_t>(n), 0);
    accumulate_case(group, random, n);
    apply_case(group, random, n);
    immediate_case(group, random, n);
  }
}

}  // namespace tbft::grid
