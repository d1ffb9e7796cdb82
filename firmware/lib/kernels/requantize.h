// int32 accumulator to int8 activation.
#pragma once

#include "kernels/conv_shape.h"
#include "kernels/fixed_point.h"

namespace tbft {

inline int8_t requantize(int32_t acc, const Requantization& rq, int32_t channel) {
  const int32_t scaled =
      multiply_by_quantized_multiplier(acc, rq.multiplier[channel], rq.shift[channel]);
  return static_cast<int8_t>(
      clamp(wrapping_add(scaled, rq.out_zero_point), rq.act_min, rq.act_max));
}

}  // namespace tbft
