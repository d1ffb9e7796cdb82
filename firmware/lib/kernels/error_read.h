// Reading an error tensor of known width: what error_value() gives, one type per width, so that
// loops need not ask.
#pragma once

#include <cstdint>

#include "kernels/error_view.h"

namespace tbft {

struct NarrowErrors {
  using Element = int8_t;
  int32_t operator()(int32_t e) const { return e; }
};

// (2 e / 2^n rounded down + 1) / 2 is rshift_round(e, n), n = 0 included.
struct WideErrors {
  using Element = int16_t;
  explicit WideErrors(const ErrorView& e) : shift(e.shift), limit((1 << e.bits) - 1) {}
  int32_t operator()(int32_t e) const {
    return clamp((((2 * e) >> shift) + 1) >> 1, -limit, limit);
  }
  int32_t shift;
  int32_t limit;
};

}  // namespace tbft
