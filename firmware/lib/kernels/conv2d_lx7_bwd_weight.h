// The two forms of the weight gradient on Xtensa.
#pragma once

#include "kernels/conv2d_lx7.h"

#if TBFT_KERNELS_LX7

namespace tbft {
namespace lx7 {

// Kernels three wide with stride 1, by tiles of four errors: half a multiplication per product.
// Returns false where it does not apply or does not fit.
bool bwd_weight_tiles(const Conv2dShape& shape, const ErrorView& e_y, const int8_t* x,
                      int32_t x_zero_point, void* scratch, GradientSink sink, void* context);

// The largest magnitude that a view's values can have.
inline int32_t error_limit(const ErrorView& e) { return e.s8 != nullptr ? 127 : (1 << e.bits) - 1; }

}  // namespace lx7
}  // namespace tbft

#endif  // TBFT_KERNELS_LX7
