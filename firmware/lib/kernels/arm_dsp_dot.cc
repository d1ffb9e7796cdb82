// In assembler, and whole functions of it: the four sums, eight operands and two pointers are all
// the registers there are, so a compiler either spills or, with inline assembler, finds none left.
// What changes seldom lies on the stack.
#include "kernels/arm_dsp_dot.h"

#if TBFT_KERNELS_ARM_DSP

namespace tbft {
namespace arm {

// Sums a0 r6, a1 r7, b0 r12, b1 lr; x r0, w r1.
#define LOAD_POINT_GROUP            \
  "ldmia r1!, {r2, r3, r4, r5}\n\t" \
  "ldmia r0!, {r8, r9, r10, r11}\n\t"
#define START_POINT_GROUP \
  LOAD_POINT_GROUP        \
  "smuad r6, r2, r8\n\t"  \
  "smuad r7, r2, r9\n\t"  \
  "smuad r12, r3, r8\n\t" \
  "smuad lr, r3, r9\n\t"
#define SECOND_HALF             \
  "smlad r6, r4, r10, r6\n\t"   \
  "smlad r7, r4, r11, r7\n\t"   \
  "smlad r12, r5, r10, r12\n\t" \
  "smlad lr, r5, r11, lr\n\t"
#define POINT_GROUP            \
  LOAD_POINT_GROUP             \
  "smlad r6, r2, r8, r6\n\t"   \
  "smlad r7, r2, r9, r7\n\t"   \
  "smlad r12, r3, r8, r12\n\t" \
  "smlad lr, r3, r9, lr\n\t" SECOND_HALF

// Stack: 0 sums, 4 x_skip_bytes, 8 end of the block's sums, 12 chunks, 16 chunks left, 20 next x,
// 24 w, 28 block_bytes, 32 blocks left.
#define DOT_POINTS(more_groups, all_groups)                                           \
  asm volatile(                                                                       \
      "push {r4, r5, r6, r7, r8, r9, r10, r11, lr}\n\t"                               \
      "sub sp, #36\n\t"                                                               \
      "ldmia r3, {r4, r5, r6, r7}\n\t"                                                \
      "strd r2, r5, [sp]\n\t"                                                         \
      "str r4, [sp, #12]\n\t"                                                         \
      "strd r0, r1, [sp, #20]\n\t"                                                    \
      "strd r6, r7, [sp, #28]\n"                                                      \
      "1:\n\t"                                                                        \
      "ldr r3, [sp, #20]\n\t"                                                         \
      "ldr r2, [sp]\n\t"                                                              \
      "ldrd r1, r4, [sp, #24]\n\t"                                                    \
      "ldr r0, [r3], #4\n\t"                                                          \
      "add r2, r4\n\t"                                                                \
      "str r3, [sp, #20]\n\t"                                                         \
      "str r2, [sp, #8]\n"                                                            \
      "2:\n\t" START_POINT_GROUP SECOND_HALF ".rept " #more_groups "\n\t" POINT_GROUP \
      ".endr\n\t"                                                                     \
      "ldr r2, [sp, #12]\n\t"                                                         \
      "subs r2, #1\n\t"                                                               \
      "beq 4f\n"                                                                      \
      "3:\n\t"                                                                        \
      "str r2, [sp, #16]\n\t"                                                         \
      ".rept " #all_groups "\n\t" POINT_GROUP                                         \
      ".endr\n\t"                                                                     \
      "ldr r2, [sp, #16]\n\t"                                                         \
      "subs r2, #1\n\t"                                                               \
      "bne 3b\n"                                                                      \
      "4:\n\t"                                                                        \
      "ldrd r2, r3, [sp]\n\t"                                                         \
      "ldr r4, [sp, #8]\n\t"                                                          \
      "stmia r2!, {r6, r7, r12, lr}\n\t"                                              \
      "add r0, r3\n\t"                                                                \
      "str r2, [sp]\n\t"                                                              \
      "cmp r2, r4\n\t"                                                                \
      "bne 2b\n\t"                                                                    \
      "ldr r2, [sp, #32]\n\t"                                                         \
      "subs r2, #1\n\t"                                                               \
      "str r2, [sp, #32]\n\t"                                                         \
      "bne 1b\n\t"                                                                    \
      "add sp, #36\n\t"                                                               \
      "pop {r4, r5, r6, r7, r8, r9, r10, r11, pc}\n")

extern "C"
    __attribute__((naked)) void tbft_arm_dot_points_48(const uint32_t* const*, const uint32_t*,
                                                       FourSums*, const PointRuns*) {
  DOT_POINTS(11, 12);
}

extern "C" __attribute__((naked)) void tbft_arm_dot_points_32(const uint32_t* const*,
                                                              const uint32_t*, FourSums*,
                                                              const PointRuns*) {
  DOT_POINTS(7, 8);
}

extern "C" __attribute__((naked)) void tbft_arm_dot_points_16(const uint32_t* const*,
                                                              const uint32_t*, FourSums*,
                                                              const PointRuns*) {
  DOT_POINTS(3, 4);
}

extern "C" __attribute__((naked)) void tbft_arm_dot_points_4(const uint32_t* const*,
                                                             const uint32_t*, FourSums*,
                                                             const PointRuns*) {
  DOT_POINTS(0, 1);
}

// Sums a0 r10, a1 r11, b0 r12, b1 lr; x0 r0, x1 r1, w r6, chunks left r7.
#define WINDOW_GROUP                \
  "ldmia r6!, {r2, r3, r4, r5}\n\t" \
  "ldrd r8, r9, [r0], #8\n\t"       \
  "smlad r10, r2, r8, r10\n\t"      \
  "smlad r12, r3, r8, r12\n\t"      \
  "smlad r10, r4, r9, r10\n\t"      \
  "smlad r12, r5, r9, r12\n\t"      \
  "ldrd r8, r9, [r1], #8\n\t"       \
  "smlad r11, r2, r8, r11\n\t"      \
  "smlad lr, r3, r8, lr\n\t"        \
  "smlad r11, r4, r9, r11\n\t"      \
  "smlad lr, r5, r9, lr\n\t"

// Two products of each; windows at any address, which LDR takes.
#define WINDOW_PAIR            \
  "ldrd r2, r3, [r6], #8\n\t"  \
  "ldr r8, [r0], #4\n\t"       \
  "ldr r9, [r1], #4\n\t"       \
  "smlad r10, r2, r8, r10\n\t" \
  "smlad r12, r3, r8, r12\n\t" \
  "smlad r11, r2, r9, r11\n\t" \
  "smlad lr, r3, r9, lr\n\t"

// Stack: 0 rows left, 4 chunks, 8 skip_bytes, 16 sums.
#define DOT_WINDOWS(groups, group)                          \
  asm volatile(                                             \
      "push {r3, r4, r5, r6, r7, r8, r9, r10, r11, lr}\n\t" \
      "sub sp, #16\n\t"                                     \
      "ldmia r2, {r4, r5, r6, r7, r10, r12}\n\t"            \
      "stmia sp, {r4, r5, r6}\n\t"                          \
      "mov r6, r7\n\t"                                      \
      "mov r11, r10\n\t"                                    \
      "mov lr, r12\n"                                       \
      "1:\n\t"                                              \
      "ldr r7, [sp, #4]\n"                                  \
      "2:\n\t"                                              \
      ".rept " #groups "\n\t" group                         \
      ".endr\n\t"                                           \
      "subs r7, #1\n\t"                                     \
      "bne 2b\n\t"                                          \
      "ldr r3, [sp]\n\t"                                    \
      "ldr r2, [sp, #8]\n\t"                                \
      "subs r3, #1\n\t"                                     \
      "str r3, [sp]\n\t"                                    \
      "add r0, r2\n\t"                                      \
      "add r1, r2\n\t"                                      \
      "bne 1b\n\t"                                          \
      "ldr r3, [sp, #16]\n\t"                               \
      "stmia r3, {r10, r11, r12, lr}\n\t"                   \
      "add sp, #20\n\t"                                     \
      "pop {r4, r5, r6, r7, r8, r9, r10, r11, pc}\n")

extern "C" __attribute__((naked)) void tbft_arm_dot_windows_16(const int16_t*, const int16_t*,
                                                               const WindowRuns*, FourSums*) {
  DOT_WINDOWS(4, WINDOW_GROUP);
}

extern "C" __attribute__((naked)) void tbft_arm_dot_windows_4(const int16_t*, const int16_t*,
                                                              const WindowRuns*, FourSums*) {
  DOT_WINDOWS(1, WINDOW_GROUP);
}

extern "C" __attribute__((naked)) void tbft_arm_dot_windows_2(const int16_t*, const int16_t*,
                                                              const WindowRuns*, FourSums*) {
  DOT_WINDOWS(1, WINDOW_PAIR);
}

}  // namespace arm
}  // namespace tbft

#endif  // TBFT_KERNELS_ARM_DSP
