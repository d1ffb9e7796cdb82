#include "kernels/arm_dsp.h"

#if TBFT_KERNELS_ARM_DSP

namespace tbft {
namespace arm {

void widen_quads(const int8_t* from, int32_t n, uint32_t offset, int16_t* to) {
  int32_t pairs = n >> 3;
  if (pairs > 0) {
    asm volatile(
        "1:\n\t"
        "ldr r2, [%[from]], #4\n\t"
        "ldr r3, [%[from]], #4\n\t"
        "sxtab16 r4, %[offset], r2\n\t"
        "sxtab16 r5, %[offset], r2, ror #8\n\t"
        "sxtab16 r8, %[offset], r3\n\t"
        "sxtab16 r9, %[offset], r3, ror #8\n\t"
        "stmia %[to]!, {r4, r5, r8, r9}\n\t"
        "subs %[n], #1\n\t"
        "bne 1b"
        : [from] "+r"(from), [to] "+r"(to), [n] "+r"(pairs)
        : [offset] "r"(offset)
        : "r2", "r3", "r4", "r5", "r8", "r9", "memory", "cc");
  }
  if ((n & 4) != 0) {
    const uint32_t quad = load_word(from);
    uint32_t* const words = reinterpret_cast<uint32_t*>(to);
    words[0] = widen_even(offset, quad);
    words[1] = widen_odd(offset, quad);
  }
}

void widen_two_rows(const int8_t* a, const int8_t* b, int32_t n, int16_t* to) {
  int32_t quads = n >> 2;
  asm volatile(
      "1:\n\t"
      "ldr r2, [%[a]], #4\n\t"
      "ldr r3, [%[b]], #4\n\t"
      "sxtb16 r4, r2\n\t"
      "sxtb16 r5, r3\n\t"
      "sxtb16 r8, r2, ror #8\n\t"
      "sxtb16 r9, r3, ror #8\n\t"
      "stmia %[to]!, {r4, r5, r8, r9}\n\t"
      "subs %[n], #1\n\t"
      "bne 1b"
      : [a] "+r"(a), [b] "+r"(b), [to] "+r"(to), [n] "+r"(quads)
      :
      : "r2", "r3", "r4", "r5", "r8", "r9", "memory", "cc");
}

// Columns inside the row, `quads` times four of them, not 0; four channels of the next column are
// `step` bytes further on. A whole function of assembler, because it takes every register.
extern "C" __attribute__((naked)) void tbft_arm_widen_quads(const int8_t*, int32_t, uint32_t,
                                                            int32_t, uint32_t*, uint32_t*) {
  asm volatile(
      "push {r4, r5, r6, r7, r8, r9, r10, r11, lr}\n\t"
      "ldrd r12, lr, [sp, #36]\n"
      "1:\n\t"
      "ldr r4, [r0]\n\t"
      "ldr r5, [r0, r1]\n\t"
      "add r0, r0, r1, lsl #1\n\t"
      "ldr r6, [r0]\n\t"
      "ldr r7, [r0, r1]\n\t"
      "add r0, r0, r1, lsl #1\n\t"
      "sxtab16 r8, r2, r4\n\t"
      "sxtab16 r9, r2, r5\n\t"
      "sxtab16 r10, r2, r6\n\t"
      "sxtab16 r11, r2, r7\n\t"
      "sxtab16 r4, r2, r4, ror #8\n\t"
      "sxtab16 r5, r2, r5, ror #8\n\t"
      "sxtab16 r6, r2, r6, ror #8\n\t"
      "sxtab16 r7, r2, r7, ror #8\n\t"
      "stmia r12!, {r8, r9, r10, r11}\n\t"
      "stmia lr!, {r4, r5, r6, r7}\n\t"
      "subs r3, #1\n\t"
      "bne 1b\n\t"
      "pop {r4, r5, r6, r7, r8, r9, r10, r11, pc}\n");
}

void widen_columns(const int8_t* row, int32_t width, int32_t channels, uint32_t offset,
                   int32_t first, int32_t n, const Lines& to) {
  const int32_t before = clamp(-first, 0, n);
  fill_zero(2 * before, reinterpret_cast<int16_t*>(to.even));
  fill_zero(2 * before, reinterpret_cast<int16_t*>(to.odd));
  int32_t i = before;
  if (i < n) {
    const int32_t inside = width - first < n ? width - first : n;
    const int32_t quads = (inside - i) >> 2;
    if (quads > 0) {
      tbft_arm_widen_quads(row + (first + i) * channels, channels, offset, quads, to.even + i,
                           to.odd + i);
      i += 4 * quads;
    }
    for (; i < inside; ++i) {
      const uint32_t four = load_word(row + (first + i) * channels);
      to.even[i] = widen_even(offset, four);
      to.odd[i] = widen_odd(offset, four);
    }
  }
  fill_zero(2 * (n - i), reinterpret_cast<int16_t*>(to.even + i));
  fill_zero(2 * (n - i), reinterpret_cast<int16_t*>(to.odd + i));
}

void fill_zero(int32_t n, int16_t* to) {
  if (n > 0 && (reinterpret_cast<uintptr_t>(to) & 2) != 0) {
    *to++ = 0;
    --n;
  }
  int32_t blocks = n >> 3;
  if (blocks > 0) {
    asm volatile(
        "movs r2, #0\n\t"
        "movs r3, #0\n\t"
        "movs r4, #0\n\t"
        "movs r5, #0\n"
        "1:\n\t"
        "stmia %[to]!, {r2, r3, r4, r5}\n\t"
        "subs %[n], #1\n\t"
        "bne 1b"
        : [to] "+r"(to), [n] "+r"(blocks)
        :
        : "r2", "r3", "r4", "r5", "memory", "cc");
  }
  for (n &= 7; n > 0; --n) {
    *to++ = 0;
    asm volatile("" ::: "memory");  // or this becomes memset
  }
}

void copy_words_down(const uint32_t* from, int32_t n, uint32_t* to) {
  int32_t blocks = n >> 2;
  if (blocks > 0) {
    asm volatile(
        "1:\n\t"
        "ldmia %[from]!, {r2, r3, r4, r5}\n\t"
        "stmia %[to]!, {r2, r3, r4, r5}\n\t"
        "subs %[n], #1\n\t"
        "bne 1b"
        : [from] "+r"(from), [to] "+r"(to), [n] "+r"(blocks)
        :
        : "r2", "r3", "r4", "r5", "memory", "cc");
  }
  for (n &= 3; n > 0; --n) {
    *to++ = *from++;
    asm volatile("" ::: "memory");
  }
}

namespace {

// (e + 2^(shift-1)) >> shift of each half, bits 2^shift .. of a product that has the result in its
// upper half. shift in [2, 9].
inline void narrow_four(uint32_t low, uint32_t high, int32_t factor, uint32_t* even,
                        uint32_t* odd) {
  constexpr int32_t kHalf = 1 << 15;
  const uint32_t e0 = static_cast<uint32_t>(__smlabb(static_cast<int32_t>(low), factor, kHalf));
  const uint32_t e1 = static_cast<uint32_t>(__smlatb(static_cast<int32_t>(low), factor, kHalf));
  const uint32_t e2 = static_cast<uint32_t>(__smlabb(static_cast<int32_t>(high), factor, kHalf));
  const uint32_t e3 = static_cast<uint32_t>(__smlatb(static_cast<int32_t>(high), factor, kHalf));
  *even = pack_high(e0, e2);
  *odd = pack_high(e1, e3);
}

inline int8_t to_narrow(const ErrorView& e, int32_t i) {
  return static_cast<int8_t>(clamp(rshift_round(e.s16[i], e.shift), -127, 127));
}

}  // namespace

const int8_t* narrow_errors(const ErrorView& e, int32_t first, int32_t n, int8_t* buffer) {
  if (e.s8 != nullptr) return e.s8 + first;
  int32_t i = 0;
  if (e.shift >= 1) {
    const int16_t* from = e.s16 + first;
    const int32_t factor = 1 << (16 - e.shift);
    const int16x2_t one = 0x00010001;
    for (; i + 4 <= n; i += 4) {
      const uint32_t low = load_word(from + i);
      const uint32_t high = load_word(from + i + 2);
      uint32_t even;
      uint32_t odd;
      if (e.shift == 1) {  // 2^15 would be a negative factor
        const uint32_t l = static_cast<uint32_t>(__shadd16(static_cast<int16x2_t>(low), one));
        const uint32_t h = static_cast<uint32_t>(__shadd16(static_cast<int16x2_t>(high), one));
        even = pack_low(l, h);
        odd = pack_high(l, h);
      } else {
        narrow_four(low, high, factor, &even, &odd);
      }
      // 8 bits saturated, then -128 to -127.
      even = static_cast<uint32_t>(__ssat16(static_cast<int16x2_t>(even), 8));
      odd = static_cast<uint32_t>(__ssat16(static_cast<int16x2_t>(odd), 8));
      const uint32_t bytes = (even & 0x00ff00ffU) | ((odd & 0x00ff00ffU) << 8);
      const int8x4_t ones = 0x01010101;
      const uint32_t symmetric =
          static_cast<uint32_t>(__sadd8(__qsub8(static_cast<int8x4_t>(bytes), ones), ones));
      __builtin_memcpy(buffer + i, &symmetric, sizeof symmetric);
    }
  }
  for (; i < n; ++i) buffer[i] = to_narrow(e, first + i);
  return buffer;
}

}  // namespace arm
}  // namespace tbft

#endif  // TBFT_KERNELS_ARM_DSP
