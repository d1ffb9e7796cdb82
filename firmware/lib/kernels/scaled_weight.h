// The 12-bit weights of input gradients (docs/numerics.md, 3).
#pragma once

#include <cstdint>

namespace tbft {

// w in [-128, 127], q in [0, 32767]; the result is in [-2048, 2032].
constexpr int32_t scaled_weight(int32_t w, int32_t q) { return (w * q + 1024) >> 11; }

}  // namespace tbft
