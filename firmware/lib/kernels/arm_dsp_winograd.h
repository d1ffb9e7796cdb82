// 3-wide convolutions of stride 1 with half the multiplications: along x, four outputs need six
// products instead of twelve (Winograd's F(4, 3), the points 0, 1, -1, 2, -2 and infinity),
// exactly, since all sums may wrap modulo 2^32 until the last, exact division.
//
// These return false, having done nothing, where they do not apply or the scratch does not hold
// them.
#pragma once

#include "kernels/arm_dsp.h"
#include "kernels/conv2d.h"

#if TBFT_KERNELS_ARM_DSP

namespace tbft {
namespace arm {

bool winograd_fwd(const Conv2dShape& shape, const int8_t* x, const int8_t* w, const int32_t* bias,
                  const Requantization& rq, void* scratch, int8_t* y);
bool winograd_bwd_input(const Conv2dShape& shape, const ErrorView& e_y, const int8_t* w,
                        const int16_t* q, int32_t shift, void* scratch, int8_t* e_x,
                        uint32_t* largest);

constexpr int32_t kPoints = 6;

// The six factors of four neighbouring inputs' outputs, two int16 at a time. d0 .. d5: six inputs
// in a row, at most 255 in magnitude; the results at most 2550.
struct InputFactors {
  uint32_t p[kPoints];
};

inline uint32_t four_times(uint32_t pair) {
  const uint32_t twice = add_pairs(pair, pair);
  return add_pairs(twice, twice);
}

inline InputFactors input_factors(uint32_t d0, uint32_t d1, uint32_t d2, uint32_t d3, uint32_t d4,
                                  uint32_t d5) {
  const uint32_t d42 = subtract_pairs(d4, d2);
  const uint32_t d31 = subtract_pairs(d3, d1);
  const uint32_t even = subtract_pairs(d4, four_times(d2));
  const uint32_t odd = subtract_pairs(d3, four_times(d1));
  const uint32_t d31_twice = add_pairs(d31, d31);
  return {{add_pairs(four_times(subtract_pairs(d0, d2)), d42), add_pairs(even, odd),
           subtract_pairs(even, odd), add_pairs(d42, d31_twice), subtract_pairs(d42, d31_twice),
           subtract_pairs(subtract_pairs(d5, d3), add_pairs(d31_twice, d31_twice))}};
}

// The kernel's factors from its three taps g0 .. g2: at most seven times as large.
inline InputFactors weight_factors(uint32_t g0, uint32_t g1, uint32_t g2) {
  const uint32_t sum = add_pairs(g0, g2);
  const uint32_t far = add_pairs(g0, four_times(g2));
  const uint32_t g1_twice = add_pairs(g1, g1);
  return {{g0, add_pairs(sum, g1), subtract_pairs(sum, g1), add_pairs(far, g1_twice),
           subtract_pairs(far, g1_twice), g2}};
}

// The factors of four neighbouring errors, for the three taps of a weight gradient: at most fifteen
// times as large.
inline InputFactors error_factors(uint32_t e0, uint32_t e1, uint32_t e2, uint32_t e3) {
  const uint32_t e2_four = four_times(e2);
  const uint32_t even = add_pairs(e0, e2);
  const uint32_t odd = add_pairs(e1, e3);
  const uint32_t far_even = add_pairs(e0, e2_four);
  const uint32_t half_odd = add_pairs(e1, four_times(e3));
  const uint32_t far_odd = add_pairs(half_odd, half_odd);
  return {{e0, add_pairs(even, odd), subtract_pairs(even, odd), add_pairs(far_even, far_odd),
           subtract_pairs(far_even, far_odd), e3}};
}

// Four outputs from the six sums of products m_p, times 8, 4, 2 and 2; the last still lacks m5.
// |output| < 2^28, so that these are the true values although the m_p may have wrapped.
struct OutputQuotients {
  int32_t y0_8, y1_4, y2_2, y3_2;
};

// n / 3 of a multiple of 3 modulo 2^32.
inline uint32_t third(uint32_t n) { return n * 0xaaaaaaabU; }

inline OutputQuotients output_quotients(uint32_t m0, uint32_t m1, uint32_t m2, uint32_t m3,
                                        uint32_t m4) {
  const uint32_t a = m1 + m2;
  const uint32_t c = m1 - m2;
  const uint32_t b = m3 + m4;
  const uint32_t d = m3 - m4;
  return {static_cast<int32_t>(third(b + 2 * (m0 + 2 * m0) - 4 * a)),
          static_cast<int32_t>(third(d - 2 * c)), static_cast<int32_t>(third(b - a)),
          static_cast<int32_t>(third(2 * d - c))};
}

}  // namespace arm
}  // namespace tbft

#endif  // TBFT_KERNELS_ARM_DSP
