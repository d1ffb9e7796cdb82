// The multiply-accumulate loops of the Xtensa kernels (ESP32, ESP32-S3 and alike).
//
// mula.dd.*.ldinc multiplies two int16 held in m0..m3, adds to the 40-bit accumulator and loads the
// next pair of int16 on the way, so that a dot product runs at one instruction per product inside
// a zero-overhead loop. GCC knows neither m0..m3 nor that these functions use the loop registers;
// each asm statement loads all it needs and leaves nothing behind. What an interrupt has to save:
// docs/kernels-lx7.md.
#pragma once

#include "kernels/dispatch.h"

#if TBFT_KERNELS_LX7

namespace tbft {
namespace lx7 {

// Dot products of one row of int16 weights with equidistant windows of an int16 image. A window is
// `runs` runs of 4 * quads contiguous elements, `pitch` apart; the weights lie one run after the
// other without gaps. Everything is a multiple of 4 bytes. Four elements beyond the last run of x
// and two beyond that of w are read, and have no effect.
struct WindowRow {
  const int16_t* x;  // first run of the first window
  const int16_t* w;
  int32_t step;     // bytes from a window to the next
  int32_t pitch;    // bytes from a run to the next
  int32_t runs;     // >= 1
  int32_t quads;    // >= 1
  int32_t windows;  // >= 1
};

// clang-format off
// Starts with the first words of x in m0 and m1 and that of w in m2. No word is used before two
// instructions have passed since its load: it takes that long.
#define TBFT_LX7_QUADS(label)                \
  "loop %[quads], " label "f\n\t"            \
  "mula.dd.ll.ldinc m3, %[tw], m0, m2\n\t"   \
  "mula.dd.hh.ldinc m0, %[tx], m0, m2\n\t"   \
  "mula.dd.ll.ldinc m2, %[tw], m1, m3\n\t"   \
  "mula.dd.hh.ldinc m1, %[tx], m1, m3\n"     \
  label ":\n\t"

// All windows of a row, three runs each (almost every convolution) or any number. `start` sets the
// accumulator, `finish` brings the sum into t; both may use t.
#define TBFT_LX7_THREE_RUNS(start, finish)   \
  "1:\n\t" start                             \
  "mov %[tx], %[x]\n\t"                      \
  "mov %[tw], %[w]\n\t"                      \
  "ldinc m0, %[tx]\n\t"                      \
  "ldinc m1, %[tx]\n\t"                      \
  "ldinc m2, %[tw]\n\t"                      \
  TBFT_LX7_QUADS("2")                        \
  "add %[tx], %[tx], %[jump]\n\t"            \
  "ldinc m0, %[tx]\n\t"                      \
  "ldinc m1, %[tx]\n\t"                      \
  TBFT_LX7_QUADS("3")                        \
  "add %[tx], %[tx], %[jump]\n\t"            \
  "ldinc m0, %[tx]\n\t"                      \
  "ldinc m1, %[tx]\n\t"                      \
  TBFT_LX7_QUADS("4")                        \
  TBFT_LX7_NEXT_WINDOW(finish)
#define TBFT_LX7_ANY_RUNS(start, finish)     \
  "1:\n\t" start                             \
  "mov %[tx], %[x]\n\t"                      \
  "mov %[tw], %[w]\n\t"                      \
  "mov %[t], %[runs]\n\t"                    \
  "ldinc m2, %[tw]\n"                        \
  "2:\n\t"                                   \
  "ldinc m0, %[tx]\n\t"                      \
  "ldinc m1, %[tx]\n\t"                      \
  "addi %[t], %[t], -1\n\t"                  \
  TBFT_LX7_QUADS("3")                        \
  "add %[tx], %[tx], %[jump]\n\t"            \
  "bnez %[t], 2b\n\t"                        \
  TBFT_LX7_NEXT_WINDOW(finish)
#define TBFT_LX7_NEXT_WINDOW(finish)         \
  "add %[x], %[x], %[step]\n\t"              \
  finish                                     \
  "addi %[windows], %[windows], -1\n\t"      \
  "s32i %[t], %[out], 0\n\t"                 \
  "addi %[out], %[out], 4\n\t"               \
  "bnez %[windows], 1b\n"

#define TBFT_LX7_START "movi %[t], 0\n\twsr.acclo %[t]\n\t"
#define TBFT_LX7_FINISH "rsr.acclo %[t]\n\t"
#define TBFT_LX7_START_256 "wsr.acclo %[low]\n\twsr.acchi %[high]\n\t"
#define TBFT_LX7_FINISH_256 \
  "rsr.acclo %[t]\n\trsr.acchi %[tx]\n\tssai 8\n\tsrc %[t], %[tx], %[t]\n\t"
// clang-format on

// out[i] = sum of window i, modulo 2^32.
inline void dot_windows(const WindowRow& row, int32_t* out) {
  const int16_t* x = row.x - 2;  // ldinc adds before it loads
  const int16_t* const w = row.w - 2;
  int32_t windows = row.windows;
  const int32_t jump = row.pitch - 8 * row.quads - 8;  // from a run's last load to the next run
  const int16_t* tx;
  const int16_t* tw;
  int32_t t;
#define TBFT_LX7_OPERANDS                                                                \
  [x] "+r"(x), [out] "+r"(out), [windows] "+r"(windows), [tx] "=&r"(tx), [tw] "=&r"(tw), \
      [t] "=&r"(t) : [w] "r"(w), [step] "r"(row.step), [jump] "r"(jump), [quads] "r"(row.quads)
  if (row.runs == 3) {
    asm volatile(TBFT_LX7_THREE_RUNS(TBFT_LX7_START, TBFT_LX7_FINISH)
                 : TBFT_LX7_OPERANDS
                 : "memory");
  } else {
    asm volatile(TBFT_LX7_ANY_RUNS(TBFT_LX7_START, TBFT_LX7_FINISH)
                 : TBFT_LX7_OPERANDS, [runs] "r"(row.runs)
                 : "memory");
  }
}

// out[i] = start + (sum of window i) / 256, for weights that are multiples of 256: int8 weights
// take that form with a shift and two masks for four of them. |out[i]| < 2^31.
inline void dot_windows_256(const WindowRow& row, int32_t start, int32_t* out) {
  const int16_t* x = row.x - 2;
  const int16_t* const w = row.w - 2;
  int32_t windows = row.windows;
  const int32_t jump = row.pitch - 8 * row.quads - 8;
  const uint32_t low = static_cast<uint32_t>(start) << 8;
  const int32_t high = start >> 24;
  const int16_t* tx;
  const int16_t* tw;
  int32_t t;
  if (row.runs == 3) {
    asm volatile(TBFT_LX7_THREE_RUNS(TBFT_LX7_START_256, TBFT_LX7_FINISH_256)
                 : TBFT_LX7_OPERANDS, [low] "r"(low), [high] "r"(high)
                 : "memory");
  } else {
    asm volatile(TBFT_LX7_ANY_RUNS(TBFT_LX7_START_256, TBFT_LX7_FINISH_256)
                 : TBFT_LX7_OPERANDS, [low] "r"(low), [high] "r"(high), [runs] "r"(row.runs)
                 : "memory");
  }
}

// The dot product of two int16 vectors of 4 * quads elements, modulo 2^32. Alignment and reading
// ahead as above.
inline int32_t dot(const int16_t* x, const int16_t* w, int32_t quads) {
  const int16_t* tx = x - 2;
  const int16_t* tw = w - 2;
  int32_t t;
  asm volatile(TBFT_LX7_START
               "ldinc m2, %[tw]\n\t"
               "ldinc m0, %[tx]\n\t"
               "ldinc m1, %[tx]\n\t"  //
               TBFT_LX7_QUADS("1") TBFT_LX7_FINISH
               : [tx] "+r"(tx), [tw] "+r"(tw), [t] "=&r"(t)
               : [quads] "r"(quads)
               : "memory");
  return t;
}

#undef TBFT_LX7_OPERANDS
#undef TBFT_LX7_THREE_RUNS
#undef TBFT_LX7_ANY_RUNS
#undef TBFT_LX7_NEXT_WINDOW
#undef TBFT_LX7_START_256
#undef TBFT_LX7_FINISH_256
#undef TBFT_LX7_START
#undef TBFT_LX7_FINISH

}  // namespace lx7
}  // namespace tbft

#endif  // TBFT_KERNELS_LX7
