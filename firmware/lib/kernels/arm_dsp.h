// Building blocks of the Cortex-M kernels (DSP extension: M4, M7, M33, M55): two int16 values in a
// word, SMLAD for two products at a time.
//
// Inside a group of four channels the values may stand in any order as long as both factors of a
// dot product have the same. Here it is what SXTB16 gives: (0, 2) in the first word, (1, 3) in the
// second.
#pragma once

#include "kernels/dispatch.h"

#if TBFT_KERNELS_ARM_DSP

#include <arm_acle.h>

#include <cstdint>

#include "kernels/conv_shape.h"
#include "kernels/error_view.h"
#include "kernels/fixed_point.h"
#include "kernels/requantize.h"

namespace tbft {
namespace arm {

// Any address: LDR takes unaligned ones.
inline uint32_t load_word(const void* from) {
  uint32_t word;
  __builtin_memcpy(&word, from, sizeof word);
  return word;
}

inline void store_half(void* to, uint32_t value) {
  const uint16_t half = static_cast<uint16_t>(value);
  __builtin_memcpy(to, &half, sizeof half);
}

inline int32_t dot_pair(uint32_t a, uint32_t b, int32_t sum) {
  return __smlad(static_cast<int16x2_t>(a), static_cast<int16x2_t>(b), sum);
}

inline uint32_t add_pairs(uint32_t a, uint32_t b) {
  return static_cast<uint32_t>(__sadd16(static_cast<int16x2_t>(a), static_cast<int16x2_t>(b)));
}

inline uint32_t subtract_pairs(uint32_t a, uint32_t b) {
  return static_cast<uint32_t>(__ssub16(static_cast<int16x2_t>(a), static_cast<int16x2_t>(b)));
}

// (low half of low, low half of high), and the same of the high halves.
inline uint32_t pack_low(uint32_t low, uint32_t high) {
  uint32_t result;
  asm("pkhbt %0, %1, %2, lsl #16" : "=r"(result) : "r"(low), "r"(high));
  return result;
}
inline uint32_t pack_high(uint32_t low, uint32_t high) {
  uint32_t result;
  asm("pkhtb %0, %1, %2, asr #16" : "=r"(result) : "r"(high), "r"(low));
  return result;
}

inline uint32_t both_halves(int32_t value) {
  return pack_low(static_cast<uint32_t>(value), static_cast<uint32_t>(value));
}

// Bytes 0 and 2 (even), 1 and 3 (odd) of four int8, plus the halves of offset.
inline uint32_t widen_even(uint32_t offset, uint32_t bytes) {
  uint32_t result;
  asm("sxtab16 %0, %1, %2" : "=r"(result) : "r"(offset), "r"(bytes));
  return result;
}
inline uint32_t widen_odd(uint32_t offset, uint32_t bytes) {
  uint32_t result;
  asm("sxtab16 %0, %1, %2, ror #8" : "=r"(result) : "r"(offset), "r"(bytes));
  return result;
}

// (a * b + 2^31) >> 32.
inline int32_t high_product_rounded(int32_t a, int32_t b) {
  int32_t result;
  asm("smmulr %0, %1, %2" : "=r"(result) : "r"(a), "r"(b));
  return result;
}

// One output, whose window is the input: a fully connected layer.
inline bool window_is_input(const Conv2dShape& s) {
  return s.out_h == 1 && s.out_w == 1 && s.kernel_h == s.in_h && s.kernel_w == s.in_w &&
         s.pad_top == 0 && s.pad_left == 0;
}

inline int32_t larger_of(int32_t a, int32_t b) { return a > b ? a : b; }

// Byte number kByte of word replaced.
template <int kByte>
inline uint32_t insert_byte(uint32_t word, int32_t byte) {
  asm("bfi %0, %1, %2, #8" : "+r"(word) : "r"(byte), "i"(8 * kByte));
  return word;
}

// Four channels of a padded row, column by column: channels 0 and 2 in even, 1 and 3 in odd.
struct Lines {
  uint32_t* even;
  uint32_t* odd;
};

// Columns first .. first + n - 1 of a row of `width` pixels of `channels` int8, widened with
// offset, 0 outside. row is at the first of the four channels of column 0; n a multiple of 4.
void widen_columns(const int8_t* row, int32_t width, int32_t channels, uint32_t offset,
                   int32_t first, int32_t n, const Lines& to);

// Scaled weights of two input channels a and b and the output channels of a quad.
struct ScaledQuad {
  uint32_t a_even, a_odd, b_even, b_odd;
};

// (low >> 11, high >> 11) as two int16.
inline uint32_t pack_scaled(int32_t low, int32_t high) {
  uint32_t result;
  asm("pkhtb %0, %1, %2, asr #11" : "=r"(result) : "r"(high * 32), "r"(low));
  return result;
}

// from: the quad's first weight of channel a; b is `next` further on, the next output channel's
// weights `pitch`.
inline ScaledQuad scaled_quad(const int8_t* from, int32_t pitch, int32_t next, const int16_t* q) {
  int32_t a[4];
  int32_t b[4];
  for (int32_t j = 0; j < 4; ++j, from += pitch) {
    a[j] = from[0] * q[j] + 1024;
    b[j] = from[next] * q[j] + 1024;
  }
  return {pack_scaled(a[0], a[2]), pack_scaled(a[1], a[3]), pack_scaled(b[0], b[2]),
          pack_scaled(b[1], b[3])};
}

// Four int8 minus the zero point at a time, n a multiple of 4; offset = both_halves(-zero_point).
// Needs `to` aligned to words.
void widen_quads(const int8_t* from, int32_t n, uint32_t offset, int16_t* to);

// Two rows of n int8 (a multiple of 4), word by word in turn: what the dot blocks read as weights.
void widen_two_rows(const int8_t* a, const int8_t* b, int32_t n, int16_t* to);

// n int16; a small C library's memset goes byte by byte.
void fill_zero(int32_t n, int16_t* to);

// n words, in ascending order: `to` may lie below `from` and overlap it.
void copy_words_down(const uint32_t* from, int32_t n, uint32_t* to);

// n errors, from element `first`, as input gradients read them: 7 bits, so that they fit in int8.
// Narrow ones are not copied: returns where they are.
const int8_t* narrow_errors(const ErrorView& e, int32_t first, int32_t n, int8_t* buffer);

// requantize() of one output channel. Fast: four instructions and the saturation; needs twice the
// sum and all later steps within int32, a right shift and the full int8 range as activation limits.
class OutputScale {
 public:
  // sum_limit >= |sum of products|, without the bias.
  OutputScale(const Requantization& rq, int32_t channel, int64_t sum_limit, int32_t bias)
      : rq_(&rq), channel_(channel), bias_(bias), multiplier_(rq.multiplier[channel]) {
    right_ = -rq.shift[channel];
    fast_ = right_ >= 1 && right_ <= 22 && rq.act_min == -128 && rq.act_max == 127 &&
            sum_limit + static_cast<int64_t>(magnitude(bias)) < (int64_t{1} << 30);
    // |result of the multiplication| < 2^30, so nothing here overflows.
    if (fast_) offset_ = (1 << (right_ - 1)) + rq.out_zero_point * (1 << right_);
  }

  bool fast() const { return fast_; }
  int32_t bias() const { return bias_; }

  // twice_acc = 2 * (sum + bias), fast channels only. Rounding half away from zero is rounding half
  // up after taking 1 off what is negative.
  int32_t from_twice(int32_t twice_acc) const {
    int32_t value = high_product_rounded(twice_acc, multiplier_);
    value += value >> 31;
    return __ssat((value + offset_) >> right_, 8);
  }

  int32_t exact(int32_t acc) const { return requantize(acc, *rq_, channel_); }

 private:
  const Requantization* rq_;
  int32_t channel_;
  int32_t bias_;
  int32_t multiplier_;
  int32_t right_;
  int32_t offset_ = 0;
  bool fast_;
};

// What an input gradient keeps of its sums: the largest magnitude, and errors of 7 bits.
// |acc| + 2^23 < 2^31, shift in [0, 24].
class ErrorOutput {
 public:
  explicit ErrorOutput(int32_t shift) : shift_(shift), half_(shift > 0 ? 1 << (shift - 1) : 0) {}

  // The error, but -128 in place of -127 where it saturates: see symmetric().
  int32_t operator()(int32_t acc) {
    const int32_t sign = acc >> 31;
    const int32_t size = (acc ^ sign) - sign;
    largest_ = larger_of(largest_, size);
    return __ssat((acc + half_) >> shift_, 8);
  }

  // Four errors in a word: -128 becomes -127.
  static uint32_t symmetric(uint32_t errors) {
    const int8x4_t ones = 0x01010101;
    return static_cast<uint32_t>(__sadd8(__qsub8(static_cast<int8x4_t>(errors), ones), ones));
  }

  uint32_t largest() const { return static_cast<uint32_t>(largest_); }

 private:
  int32_t shift_;
  int32_t half_;
  int32_t largest_ = 0;
};

}  // namespace arm
}  // namespace tbft

#endif  // TBFT_KERNELS_ARM_DSP
