// Element-wise kernels with the Cortex-M DSP extension: four bytes or two int16 at a time, chosen
// by SEL with the flags that SSUB8 and SSUB16 leave.
#include "kernels/dispatch.h"

#if TBFT_KERNELS_ARM_DSP

#include "kernels/arm_dsp.h"

namespace tbft {
namespace {

// Bytes of e where low <= y <= high (as int8), 0 elsewhere.
inline uint32_t passed_bytes(uint32_t e, uint32_t y, uint32_t low, uint32_t high) {
  uint32_t scratch;
  asm("ssub8 %1, %2, %3\n\t"
      "sel %0, %0, %5\n\t"
      "ssub8 %1, %4, %2\n\t"
      "sel %0, %0, %5"
      : "+r"(e), "=&r"(scratch)
      : "r"(y), "r"(low), "r"(high), "r"(0)
      : "cc");
  return e;
}

inline uint32_t passed_halves(uint32_t e, uint32_t y, uint32_t low, uint32_t high) {
  uint32_t scratch;
  asm("ssub16 %1, %2, %3\n\t"
      "sel %0, %0, %5\n\t"
      "ssub16 %1, %4, %2\n\t"
      "sel %0, %0, %5"
      : "+r"(e), "=&r"(scratch)
      : "r"(y), "r"(low), "r"(high), "r"(0)
      : "cc");
  return e;
}

// What passes an activation: low <= y <= high. Nothing where low is above 127.
struct Range {
  int32_t low;
  int32_t high;

  Range(int32_t act_min, int32_t act_max, bool relu6)
      : low(act_min + 1), high(relu6 ? act_max - 1 : 127) {
    if (low > 127 || high < -128) {
      low = 127;
      high = -128;
    }
  }

  template <typename Error>
  Error operator()(Error e, int32_t y) const {
    return y >= low && y <= high ? e : Error{0};
  }
};

inline void store_word(void* to, uint32_t word) { __builtin_memcpy(to, &word, sizeof word); }

}  // namespace

void relu_bwd_arm_dsp(const int8_t* e, const int8_t* y, uint32_t n, int32_t act_min,
                      int32_t act_max, bool relu6, int8_t* out) {
  const Range range(act_min, act_max, relu6);
  const uint32_t low = (static_cast<uint32_t>(range.low) & 0xffU) * 0x01010101U;
  const uint32_t high = (static_cast<uint32_t>(range.high) & 0xffU) * 0x01010101U;
  uint32_t i = 0;
  for (; i + 4 <= n; i += 4) {
    store_word(out + i, passed_bytes(arm::load_word(e + i), arm::load_word(y + i), low, high));
  }
  for (; i < n; ++i) out[i] = range(e[i], y[i]);
}

void relu_bwd_arm_dsp(const int16_t* e, const int8_t* y, uint32_t n, int32_t act_min,
                      int32_t act_max, bool relu6, int16_t* out) {
  const Range range(act_min, act_max, relu6);
  const uint32_t low = arm::both_halves(range.low);
  const uint32_t high = arm::both_halves(range.high);
  uint32_t i = 0;
  for (; i + 4 <= n; i += 4) {
    const uint32_t bytes = arm::load_word(y + i);
    const uint32_t even = arm::widen_even(0, bytes);
    const uint32_t odd = arm::widen_odd(0, bytes);
    const uint32_t first = arm::load_word(e + i);
    const uint32_t second = arm::load_word(e + i + 2);
    store_word(out + i, passed_halves(first, arm::pack_low(even, odd), low, high));
    store_word(out + i + 2, passed_halves(second, arm::pack_high(even, odd), low, high));
  }
  for (; i < n; ++i) out[i] = range(e[i], y[i]);
}

namespace {

uint32_t larger(uint32_t largest, int32_t value) {
  return magnitude(value) > largest ? magnitude(value) : largest;
}

}  // namespace

uint32_t error_magnitude_arm_dsp(const int16_t* e, uint32_t n) {
  uint32_t highest = 0;
  uint32_t lowest = 0;
  uint32_t i = 0;
  for (; i + 2 <= n; i += 2) {
    const uint32_t pair = arm::load_word(e + i);
    uint32_t scratch;
    asm("ssub16 %2, %3, %0\n\t"
        "sel %0, %3, %0\n\t"
        "ssub16 %2, %3, %1\n\t"
        "sel %1, %1, %3"
        : "+r"(highest), "+r"(lowest), "=&r"(scratch)
        : "r"(pair)
        : "cc");
  }
  uint32_t largest = 0;
  const uint32_t pairs[2] = {highest, lowest};
  for (const uint32_t pair : pairs) {
    largest = larger(largest, static_cast<int16_t>(pair));
    largest = larger(largest, static_cast<int16_t>(pair >> 16));
  }
  return i < n ? larger(largest, e[i]) : largest;
}

uint32_t error_magnitude_arm_dsp(const int8_t* e, uint32_t n) {
  uint32_t highest = 0;
  uint32_t lowest = 0;
  uint32_t i = 0;
  for (; i + 4 <= n; i += 4) {
    const uint32_t four = arm::load_word(e + i);
    uint32_t scratch;
    asm("ssub8 %2, %3, %0\n\t"
        "sel %0, %3, %0\n\t"
        "ssub8 %2, %3, %1\n\t"
        "sel %1, %1, %3"
        : "+r"(highest), "+r"(lowest), "=&r"(scratch)
        : "r"(four)
        : "cc");
  }
  uint32_t largest = 0;
  const uint32_t fours[2] = {highest, lowest};
  for (const uint32_t four : fours) {
    for (int32_t shift = 0; shift < 32; shift += 8) {
      largest = larger(largest, static_cast<int8_t>(four >> shift));
    }
  }
  for (; i < n; ++i) largest = larger(largest, e[i]);
  return largest;
}

}  // namespace tbft

#endif  // TBFT_KERNELS_ARM_DSP
