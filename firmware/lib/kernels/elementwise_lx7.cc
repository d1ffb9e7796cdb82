// Addition and the affine's forward pass on Xtensa: sums into a buffer, requantized together.
#include "kernels/dispatch.h"

#if TBFT_KERNELS_LX7

#include "kernels/lx7_requantize.h"

namespace tbft {
namespace {

constexpr int32_t kSums = 64;
constexpr int32_t kValues = 256;  // of an int8

// MBQM((value - zero_point) * 2^20, multiplier, shift) for every int8 value, at value & 255.
void scale_operand(int32_t zero_point, int32_t multiplier, int32_t shift, int32_t* table) {
  for (int32_t value = -128; value < 128; ++value) {
    table[value & (kValues - 1)] =
        multiply_by_quantized_multiplier((value - zero_point) * (1 << 20), multiplier, shift);
  }
}

}  // namespace

bool add_s8_fwd_lx7(const AddParams& p, const int8_t* a, const int8_t* b, uint32_t n, int8_t* y) {
  // Making the tables takes about 60 instructions an entry, what they save is 50 an element.
  if (n < 4 * kValues) return false;
  int32_t table_a[kValues];
  int32_t table_b[kValues];
  scale_operand(p.a_zero_point, p.a_multiplier, p.a_shift, table_a);
  scale_operand(p.b_zero_point, p.b_multiplier, p.b_shift, table_b);
  const Requantization rq = {&p.out_multiplier, &p.out_shift, 0,
                             p.out_zero_point,  p.act_min,    p.act_max};
  const lx7::Requantizer requantize_sums(rq, 0);
  const uint8_t* index_a = reinterpret_cast<const uint8_t*>(a);
  const uint8_t* index_b = reinterpret_cast<const uint8_t*>(b);
  int32_t sums[kSums];
  while (n > 0) {
    const int32_t count = n < kSums ? static_cast<int32_t>(n) : kSums;
    for (int32_t k = 0; k < count; ++k) {
      sums[k] = wrapping_add(table_a[*index_a++], table_b[*index_b++]);
    }
    requantize_sums(sums, count, y, 1);
    y += count;
    n -= static_cast<uint32_t>(count);
  }
  return true;
}

void affine_channel_lx7(const int8_t* x, int32_t w, int32_t bias, const Requantization& rq,
                        int32_t channel, int32_t pixels, int32_t channels, int8_t* y) {
  const lx7::Requantizer requantize_sums(rq, channel);
  const int32_t start = wrapping_add(bias, -rq.in_zero_point * w);
  int32_t sums[kSums];
  while (pixels > 0) {
    const int32_t count = pixels < kSums ? pixels : kSums;
    for (int32_t k = 0; k < count; ++k, x += channels) sums[k] = wrapping_add(*x * w, start);
    requantize_sums(sums, count, y, channels);
    y += count * channels;
    pixels -= count;
  }
}

}  // namespace tbft

#endif  // TBFT_KERNELS_LX7
