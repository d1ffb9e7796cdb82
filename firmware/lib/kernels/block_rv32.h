// The 4 x 4 block of sums that all RV32IM convolutions are made of.
//
// sums[4 * j + c] += x[j] . w[c], j and c in 0..3: 16 sums, four weights, one input and two
// products fill 23 of the 28 registers that hold no stack, global or thread pointer, the pointers
// the rest. A step costs 8 loads and 16 multiplications and additions: 2.5 instructions a product.
// Written in assembly since compilers spill here; no load is used by the instruction after it.
//
// All sums wrap at 2^32.
#pragma once

#include <cstdint>

namespace tbft::rv32 {

// Several blocks that share their weights' and inputs' memory ("points" of the Winograd form, or
// one): block p reads its inputs at p * x_point and its weights at p * w_point bytes behind block
// 0's, and has sums + 16 * p.
constexpr int32_t kUnrolled = 8;  // steps of the main loop

struct BlockArgs {
  // Runs of x: pairs of pointers, for inputs 0, 1 and for inputs 2, 3. The weights of the runs
  // follow each other.
  const int16_t* const* runs;
  int32_t run_count;  // 1 or more
  const int16_t* w;
  int32_t main_bytes;  // of weights in a run's steps in multiples of four
  int32_t tail_bytes;  // of weights in a run's other steps
  int32_t* sums;
  int32_t accumulate;  // 0: sums are overwritten
  int32_t points;      // 1 or more
  void set_steps(int32_t steps, int32_t bytes) {
    main_bytes = (steps & -kUnrolled) * bytes;
    tail_bytes = (steps & (kUnrolled - 1)) * bytes;
  }
  // The block's own notes.
  int32_t x_offset;
  const int16_t* const* next_run;
  int32_t runs_left;
};

// sums[4 * j + c] = sum of x[j] * e[c] over a rectangle of pixels.
struct PixelArgs {
  const int8_t* x;      // four channels of the first pixel
  const int16_t* e;     // four errors, pixels of a row behind each other
  int32_t x_step;       // bytes from pixel to pixel
  int32_t pair_bytes;   // of a row's errors in pairs of pixels
  int32_t odd;          // whether a pixel is left over
  int32_t x_row_bytes;  // from row to row
  int32_t e_row_bytes;
  int32_t rows;  // 1 or more
  int32_t* sums;
};

// clang-format off
#define TBFT_RV32_SUMS(op)                                                                         \
  op " s0,0(t1)\n" op " s1,4(t1)\n" op " s2,8(t1)\n" op " s3,12(t1)\n"                             \
  op " s4,16(t1)\n" op " s5,20(t1)\n" op " s6,24(t1)\n" op " s7,28(t1)\n"                          \
  op " s8,32(t1)\n" op " s9,36(t1)\n" op " s10,40(t1)\n" op " s11,44(t1)\n"                        \
  op " a4,48(t1)\n" op " a5,52(t1)\n" op " a6,56(t1)\n" op " a7,60(t1)\n"
#define TBFT_RV32_ZERO_SUMS                                                                        \
  "li s0,0\n li s1,0\n li s2,0\n li s3,0\n li s4,0\n li s5,0\n li s6,0\n li s7,0\n li s8,0\n"      \
  "li s9,0\n li s10,0\n li s11,0\n li a4,0\n li a5,0\n li a6,0\n li a7,0\n"
// Products of the input in x with four weights; next loads the following input into the register
// t that the first product has left.
#define TBFT_RV32_INPUT(x, t, a, b, c, d, next)                                                    \
  "mul " t "," x ",t3\n mul t2," x ",t4\n add " a "," a "," t "\n" next                            \
  "add " b "," b ",t2\n mul t2," x ",t5\n mul " x "," x ",t6\n add " c "," c ",t2\n"               \
  "add " d "," d "," x "\n"
#define TBFT_RV32_CLOBBERS                                                                         \
  "ra", "t0", "t1", "t2", "t3", "t4", "t5", "t6", "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7",  \
  "s8", "s9", "s10", "s11", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "memory"

// Step k of four, steps x_step and w_step bytes apart: inputs 0, 1 at a1, inputs 2, 3 at a2.
#define TBFT_RV32_PAIRS_STEP(k, x_step, w_step)                                                    \
  "lh t3," k "*" w_step "+0(a3)\n lh t0," k "*" x_step "+0(a1)\n"                                  \
  "lh t4," k "*" w_step "+2(a3)\n lh t5," k "*" w_step "+4(a3)\n"                                  \
  "lh t6," k "*" w_step "+6(a3)\n"                                                                 \
  TBFT_RV32_INPUT("t0", "t1", "s0", "s1", "s2", "s3", "lh t1," k "*" x_step "+2(a1)\n")            \
  TBFT_RV32_INPUT("t1", "t0", "s4", "s5", "s6", "s7", "lh t0," k "*" x_step "+0(a2)\n")            \
  TBFT_RV32_INPUT("t0", "t1", "s8", "s9", "s10", "s11", "lh t1," k "*" x_step "+2(a2)\n")          \
  TBFT_RV32_INPUT("t1", "t0", "a4", "a5", "a6", "a7", "")
// x_point, w_point in bytes.
#define TBFT_RV32_PAIRS_BLOCK(args, x_step, w_step, x_point, w_point)                              \
  asm volatile(                                                                                    \
      "mv ra,a0\n sw zero,32(ra)\n"                                                                \
      "1: lw t0,24(ra)\n lw t1,20(ra)\n beqz t0,2f\n"                                              \
      TBFT_RV32_SUMS("lw") "j 3f\n"                                                    \
      "2:\n" TBFT_RV32_ZERO_SUMS                                                                   \
      "3: lw t2,0(ra)\n lw t1,4(ra)\n lw a3,8(ra)\n"                                               \
      "4: lw a1,0(t2)\n lw t0,32(ra)\n lw a2,4(t2)\n addi t2,t2,8\n sw t2,36(ra)\n"                \
      "lw t2,12(ra)\n sw t1,40(ra)\n add a1,a1,t0\n add a2,a2,t0\n add a0,a3,t2\n"                 \
      "beq a3,a0,6f\n"                                                                             \
      "5:\n" TBFT_RV32_PAIRS_STEP("0", x_step, w_step) TBFT_RV32_PAIRS_STEP("1", x_step, w_step)   \
      TBFT_RV32_PAIRS_STEP("2", x_step, w_step) TBFT_RV32_PAIRS_STEP("3", x_step, w_step)          \
      TBFT_RV32_PAIRS_STEP("4", x_step, w_step) TBFT_RV32_PAIRS_STEP("5", x_step, w_step)          \
      TBFT_RV32_PAIRS_STEP("6", x_step, w_step) TBFT_RV32_PAIRS_STEP("7", x_step, w_step)          \
      "addi a3,a3,8*" w_step "\n addi a1,a1,8*" x_step "\n addi a2,a2,8*" x_step "\n"              \
      "bne a3,a0,5b\n"                                                                             \
      "6: lw a0,16(ra)\n beqz a0,8f\n add a0,a0,a3\n"                                              \
      "7:\n" TBFT_RV32_PAIRS_STEP("0", x_step, w_step)                                             \
      "addi a3,a3," w_step "\n addi a1,a1," x_step "\n addi a2,a2," x_step "\n bne a3,a0,7b\n"     \
      "8: lw t1,40(ra)\n lw t2,36(ra)\n addi t1,t1,-1\n bnez t1,4b\n"                              \
      "lw t1,20(ra)\n lw t0,28(ra)\n lw t2,32(ra)\n lw t3,8(ra)\n"                                 \
      TBFT_RV32_SUMS("sw")                                                             \
      "addi t0,t0,-1\n addi t1,t1,64\n addi t2,t2," x_point "\n addi t3,t3," w_point "\n"          \
      "sw t0,28(ra)\n sw t1,20(ra)\n sw t2,32(ra)\n sw t3,8(ra)\n bnez t0,1b\n"                    \
      : "+r"(args) : : TBFT_RV32_CLOBBERS)

// One pixel: four int8 inputs at a1, four errors at w_at + a3.
#define TBFT_RV32_PIXEL(w_at)                                                                      \
  "lh t3," w_at "+0(a3)\n lb t0,0(a1)\n lh t4," w_at "+2(a3)\n lh t5," w_at "+4(a3)\n"             \
  "lh t6," w_at "+6(a3)\n"                                                                         \
  TBFT_RV32_INPUT("t0", "t1", "s0", "s1", "s2", "s3", "lb t1,1(a1)\n")                             \
  TBFT_RV32_INPUT("t1", "t0", "s4", "s5", "s6", "s7", "lb t0,2(a1)\n")                             \
  TBFT_RV32_INPUT("t0", "t1", "s8", "s9", "s10", "s11", "lb t1,3(a1)\n add a1,a1,a2\n")           \
  TBFT_RV32_INPUT("t1", "t0", "a4", "a5", "a6", "a7", "")
#define TBFT_RV32_PIXELS(args)                                                                     \
  asm volatile(                                                                                    \
      "mv ra,a0\n lw a2,8(ra)\n" TBFT_RV32_ZERO_SUMS                                              \
      "1: lw a1,0(ra)\n lw a3,4(ra)\n lw a0,12(ra)\n add a0,a0,a3\n beq a3,a0,3f\n"               \
      "2:\n" TBFT_RV32_PIXEL("0") TBFT_RV32_PIXEL("8")                                             \
      "addi a3,a3,16\n bne a3,a0,2b\n"                                                            \
      "3: lw t0,16(ra)\n beqz t0,4f\n" TBFT_RV32_PIXEL("0")                                       \
      "4: lw t0,0(ra)\n lw t1,20(ra)\n lw t2,4(ra)\n lw t3,24(ra)\n lw t4,28(ra)\n"              \
      "add t0,t0,t1\n add t2,t2,t3\n addi t4,t4,-1\n sw t0,0(ra)\n sw t2,4(ra)\n sw t4,28(ra)\n" \
      "bnez t4,1b\n lw t1,32(ra)\n" TBFT_RV32_SUMS("sw")                                          \
      : "+r"(args) : : TBFT_RV32_CLOBBERS)
// clang-format on

// Steps of 12 inputs (6 points of a pair) and 24 weights (6 points of four filters), points beside
// each other.
inline void winograd_block(BlockArgs* block) {
  register BlockArgs* args asm("a0") = block;
  TBFT_RV32_PAIRS_BLOCK(args, "24", "48", "4", "8");
}

// Steps of 24 inputs (6 points of four) and 24 weights: the second pointer of a run is 4 bytes
// ahead of the first.
inline void winograd_gradient_block(BlockArgs* block) {
  register BlockArgs* args asm("a0") = block;
  TBFT_RV32_PAIRS_BLOCK(args, "48", "48", "8", "8");
}

// Steps of a pair of inputs and four weights.
inline void direct_block(BlockArgs* block) {
  register BlockArgs* args asm("a0") = block;
  TBFT_RV32_PAIRS_BLOCK(args, "4", "8", "0", "0");
}

// Even numbers of elements at multiples of 4 bytes. The empty assembly keeps GCC from calling
// memset, which takes several instructions a byte in small C libraries.
inline void fill_zero(int16_t* to, int32_t n) {
  int32_t* words = reinterpret_cast<int32_t*>(to);
  for (const int32_t* const end = words + n / 2; words != end; ++words) {
    *words = 0;
    asm volatile("" : : : "memory");
  }
}

inline void pixel_block(PixelArgs* block) {
  register PixelArgs* args asm("a0") = block;
  TBFT_RV32_PIXELS(args);
}

}  // namespace tbft::rv32
