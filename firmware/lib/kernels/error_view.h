// How kernels read an error tensor: narrow (int8), or wide (int16) and narrowed on the fly.
#pragma once

#include <cstdint>

#include "kernels/fixed_point.h"

namespace tbft {

struct ErrorView {
  const int8_t* s8;    // narrow, in [-127, 127]; null for a wide error
  const int16_t* s16;  // wide, in [-32767, 32767]; not looked at when s8 is set
  // Wide errors are read as clamp(rshift_round(e, shift), -(2^bits - 1), 2^bits - 1); bits
  // 7..11, shift 0..15 - bits (one more where a malformed model makes a value -32768).
  int32_t shift;
  int32_t bits;
};

// The value that convolutions and their gradients read.
inline int32_t error_value(const ErrorView& e, int64_t i) {
  if (e.s8 != nullptr) return e.s8[i];
  const int32_t limit = (1 << e.bits) - 1;
  return clamp(rshift_round(e.s16[i], e.shift), -limit, limit);
}

// Largest |e|, the M from which the shift of a view follows: needed_shift(M, bits).
uint32_t error_magnitude(const int16_t* e, uint32_t n);
uint32_t error_magnitude(const int8_t* e, uint32_t n);

}  // namespace tbft
