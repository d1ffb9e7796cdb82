// Four neighbouring channels of an error, as weight gradients read them: int16, up to 11 bits.
#pragma once

#include "kernels/arm_dsp.h"

#if TBFT_KERNELS_ARM_DSP

namespace tbft {
namespace arm {

class ErrorQuads {
 public:
  explicit ErrorQuads(const ErrorView& e) : e_(e) {
    if (e.s8 != nullptr) return;
    const int32_t limit = (1 << e.bits) - 1;
    over_ = both_halves(32767 - limit);
    under_ = both_halves(32768 - limit);
    factor_ = e.shift > 1 ? 1 << (16 - e.shift) : 0;
  }

  // Two channels in a word. Narrow: 0 and 2, 1 and 3; wide: 0 and 1, 2 and 3.
  struct Quad {
    uint32_t first, second;
  };

  // Elements at .. at + 3.
  Quad load(int32_t at) const {
    if (e_.s8 != nullptr) {
      const uint32_t bytes = load_word(e_.s8 + at);
      return {widen_even(0, bytes), widen_odd(0, bytes)};
    }
    return {narrow(load_word(e_.s16 + at)), narrow(load_word(e_.s16 + at + 2))};
  }

  // The same of four values.
  Quad pack(const uint32_t* value) const {
    if (e_.s8 != nullptr) return {pack_low(value[0], value[2]), pack_low(value[1], value[3])};
    return {pack_low(value[0], value[1]), pack_low(value[2], value[3])};
  }

  // The channel's two values of two pixels.
  uint32_t channel_pair(const Quad& a, const Quad& b, int32_t channel) const {
    const bool in_second = e_.s8 != nullptr ? channel % 2 != 0 : channel >= 2;
    const bool high = e_.s8 != nullptr ? channel >= 2 : channel % 2 != 0;
    const uint32_t from_a = in_second ? a.second : a.first;
    const uint32_t from_b = in_second ? b.second : b.first;
    return high ? pack_high(from_a, from_b) : pack_low(from_a, from_b);
  }

 private:
  // Rounding shift and clamp of both halves.
  uint32_t narrow(uint32_t pair) const {
    if (e_.shift > 1) {
      // The product has the result in its upper half.
      constexpr int32_t kHalf = 1 << 15;
      const int32_t both = static_cast<int32_t>(pair);
      pair = pack_high(static_cast<uint32_t>(__smlabb(both, factor_, kHalf)),
                       static_cast<uint32_t>(__smlatb(both, factor_, kHalf)));
    } else if (e_.shift == 1) {
      pair = static_cast<uint32_t>(__shadd16(static_cast<int16x2_t>(pair), 0x00010001));
    }
    // Saturation at the int16 limits, moved to where the error's limits are.
    pair = subtract_pairs(static_cast<uint32_t>(__qadd16(static_cast<int16x2_t>(pair),
                                                         static_cast<int16x2_t>(over_))),
                          over_);
    return add_pairs(static_cast<uint32_t>(
                         __qsub16(static_cast<int16x2_t>(pair), static_cast<int16x2_t>(under_))),
                     under_);
  }

  ErrorView e_;
  uint32_t over_ = 0;
  uint32_t under_ = 0;
  int32_t factor_ = 0;
};

}  // namespace arm
}  // namespace tbft

#endif  // TBFT_KERNELS_ARM_DSP
