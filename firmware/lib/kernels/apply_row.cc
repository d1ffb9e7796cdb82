// The batch update of a row of weights: whole steps move the weights, their remainders stay in the
// accumulator (docs/numerics.md, 5).
#include "kernels/fixed_point.h"
#include "kernels/update.h"

namespace tbft {
namespace {

// Above this a step is larger than twice any accumulator and no weight moves.
constexpr int32_t kNoStep = 1 << 30;
constexpr int32_t kLargestShift = 59;
constexpr int32_t kFullBits = 14;
constexpr int32_t kLowestScaledExponent = -16384;

// How much of the accumulator makes one step of a weight, at least 1; 0 for a learning rate of 0.
int32_t step_size(const NormalizedPair& lr, const NormalizedPair& rho, int32_t exponent) {
  const uint64_t product = static_cast<uint64_t>(static_cast<uint32_t>(lr.mantissa)) *
                           static_cast<uint32_t>(rho.mantissa);
  const uint64_t value = product >> 31;
  if (value == 0) return 0;
  const int32_t shift = 31 - lr.exponent - rho.exponent - exponent;
  if (shift > kLargestShift) return kNoStep;
  if (shift < 0) return 1;
  const uint64_t size = ((uint64_t{1} << shift) + (value >> 1)) / value;
  return size > 0 ? static_cast<int32_t>(size) : 1;
}

int8_t moved(int32_t w, int32_t steps) { return static_cast<int8_t>(clamp(w - steps, -127, 127)); }

// Brings what is left to 14 bits, so that the next batch is added to it without losing bits.
void scale_up(int32_t largest, uint32_t n, int16_t* acc, int16_t* exponent) {
  if (largest == 0) {
    *exponent = kEmptyExponent;
    return;
  }
  const int32_t shift = kFullBits - bitlen(static_cast<uint32_t>(largest));
  if (shift <= 0 || *exponent < kLowestScaledExponent) return;
  for (uint32_t j = 0; j < n; ++j) acc[j] = static_cast<int16_t>(acc[j] * (1 << shift));
  *exponent = static_cast<int16_t>(*exponent - shift);
}

}  // namespace

void apply_row_s8_ref(const NormalizedPair& lr, const NormalizedPair& rho, uint32_t n,
                      const RowIndex& index, int16_t* acc, int16_t* exponent, int8_t* w) {
  const int32_t size = step_size(lr, rho, *exponent);
  if (size == 0) {
    *exponent = kEmptyExponent;
    return;
  }
  int32_t largest = 0;
  for (uint32_t j = 0; j < n; ++j) {
    const int32_t value = acc[j];
    const int32_t count = ((value < 0 ? -value : value) + (size >> 1)) / size;
    const int32_t steps = value < 0 ? -count : count;
    int8_t* weight = w + index.first + j * index.stride;
    *weight = moved(*weight, steps);
    acc[j] = static_cast<int16_t>(value - steps * size);
    const int32_t left = acc[j] < 0 ? -acc[j] : acc[j];
    largest = left > largest ? left : largest;
  }
  scale_up(largest, n, acc, exponent);
}

// Most accumulators hold less than half a step after a batch: they are looked at and left.
void apply_row_s8(const NormalizedPair& lr, const NormalizedPair& rho, uint32_t n,
                  const RowIndex& index, int16_t* acc, int16_t* exponent, int8_t* w) {
  const int32_t size = step_size(lr, rho, *exponent);
  if (size == 0) {
    *exponent = kEmptyExponent;
    return;
  }
  const int32_t below = size - (size >> 1);  // no step for |acc| < below
  int32_t lowest = 0;
  int32_t highest = 0;
  for (uint32_t j = 0; j < n; ++j) {
    int32_t value = acc[j];
    if (value >= below || value <= -below) {
      const int32_t count = ((value < 0 ? -value : value) + (size >> 1)) / size;
      const int32_t steps = value < 0 ? -count : count;
      int8_t* weight = w + index.first + j * index.stride;
      *weight = moved(*weight, steps);
      value -= steps * size;
      acc[j] = static_cast<int16_t>(value);
    }
    lowest = value < lowest ? value : lowest;
    highest = value > highest ? value : highest;
  }
  scale_up(highest > -lowest ? highest : -lowest, n, acc, exponent);
}

}  // namespace tbft
