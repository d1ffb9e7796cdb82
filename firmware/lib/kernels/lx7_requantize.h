// Requantization of one output channel's sums on Xtensa.
#pragma once

#include "kernels/dispatch.h"

#if TBFT_KERNELS_LX7

#include "kernels/requantize.h"

namespace tbft {
namespace lx7 {

// For a multiplier m and a shift -n, n >= 1, requantize(acc) before its limits is
//
//     floor((acc * m + 2^30 + 2^(n+30) - (acc < 0) * 2^31) / 2^(31+n)) + zero point.
//
// Without a multiplication that gives the high half, the 64-bit product is costly. With
// c = acc / 2^(n-6) (rounded down to 16 bits; where it does not fit, the limits decide) and
// f = m / 2^16 (rounded), c * f is that product by 2^(n+10) to within known bounds, and its
// quotient by 2^21 is the result, unless a multiple of 2^21 lies within the bounds (3 to 8 % of all
// sums): then the exact function decides.
class Requantizer {
 public:
  Requantizer(const Requantization& rq, int32_t channel) : rq_(rq), channel_(channel) {
    const int32_t n = -rq.shift[channel];
    const int32_t m = rq.multiplier[channel];
    fast_ = m != 0 && n >= kSmallestShift && n <= kLargestShift;
    if (!fast_) return;
    drop_ = n - kUnit;
    factor_ = static_cast<int32_t>((static_cast<uint32_t>(m) + (1U << 15)) >> 16);  // <= 2^15
    // The exact dividend lies between `below` less and `above` more than c * f + 2^20: f is wrong
    // by half at most and |c| <= 2^15; c leaves out less than 1 (nothing where it is a multiple of
    // acc) times f <= 2^15; the first rounding adds 2^30 or, for a negative acc, 2^30 - 2^31.
    const int32_t rounding = drop_ >= 0 ? (1 << 14) >> drop_ : 1 << (14 - drop_);
    const int32_t below = (1 << 14) + rounding + 1;
    const int32_t above = below + (drop_ > 0 ? 1 << 15 : 0);
    offset_ = (1 << (kDivide - 1)) - below + rq.out_zero_point * (1 << kDivide);
    sure_ = ((1U << kDivide) - static_cast<uint32_t>(below + above)) << (32 - kDivide);
  }

  // y[k * step] = requantize(sums[k]).
  __attribute__((noinline)) void operator()(const int32_t* sums, int32_t n, int8_t* y,
                                            int32_t step) const {
    const int32_t* const end = sums + n;
    while (sums != end) {
      if (fast_) run(end, step, &sums, &y);
      if (sums == end) return;
      *y = requantize(*sums++, rq_, channel_);
      y += step;
    }
  }

 private:
  static constexpr int32_t kSmallestShift = 4;  // below, too many sums would be unsure
  static constexpr int32_t kLargestShift = 31;
  static constexpr int32_t kUnit = 6;  // makes c * f = 2^29 or more where the limits of int8 decide
  static constexpr int32_t kDivide = 15 + kUnit;

  // Goes on until the end or an unsure sum. The branch out of the loop must not go to the loop's
  // own end.
  void run(const int32_t* end, int32_t step, const int32_t** sums, int8_t** y) const {
    const int32_t* from = *sums;
    int8_t* to = *y;
    int32_t c;
    int32_t t;
    // clang-format off
#define TBFT_LX7_REQUANTIZE(set_shift, shift)            \
    asm volatile(                                        \
        set_shift "\n\t"                                 \
        "loop %[n], 1f\n\t"                              \
        "l32i %[c], %[from], 0\n\t"                      \
        "addi %[from], %[from], 4\n\t"                   \
        shift "\n\t"                                     \
        "clamps %[c], %[c], 15\n\t"                      \
        "mull %[c], %[c], %[factor]\n\t"                 \
        "add %[c], %[c], %[offset]\n\t"                  \
        "slli %[t], %[c], 32 - %[divide]\n\t"            \
        "bgeu %[t], %[sure], 2f\n\t"                     \
        "srai %[c], %[c], %[divide]\n\t"                 \
        "max %[c], %[c], %[low]\n\t"                     \
        "min %[c], %[c], %[high]\n\t"                    \
        "s8i %[c], %[to], 0\n\t"                         \
        "add %[to], %[to], %[step]\n"                    \
        "1:\n\t"                                         \
        "j 3f\n"                                         \
        "2:\n\t"                                         \
        "addi %[from], %[from], -4\n"                    \
        "3:\n"                                           \
        : [from] "+r"(from), [to] "+r"(to), [c] "=&r"(c), [t] "=&r"(t)                          \
        : [drop] "r"(drop_ >= 0 ? drop_ : -drop_), [n] "r"(end - from), [factor] "r"(factor_),  \
          [offset] "r"(offset_), [sure] "r"(sure_), [low] "r"(rq_.act_min),                     \
          [high] "r"(rq_.act_max), [step] "r"(step), [divide] "i"(kDivide)                      \
        : "memory")
    // clang-format on
    if (drop_ >= 0) {
      TBFT_LX7_REQUANTIZE("ssr %[drop]", "sra %[c], %[c]");
    } else {
      TBFT_LX7_REQUANTIZE("ssl %[drop]", "clamps %[c], %[c], 15\n\tsll %[c], %[c]");
    }
#undef TBFT_LX7_REQUANTIZE
    *sums = from;
    *y = to;
  }

  const Requantization& rq_;
  int32_t channel_;
  bool fast_ = false;
  int32_t drop_ = 0;  // negative: acc is multiplied by 2^-drop_
  int32_t factor_ = 0;
  int32_t offset_ = 0;
  uint32_t sure_ = 0;
};

}  // namespace lx7
}  // namespace tbft

#endif  // TBFT_KERNELS_LX7
