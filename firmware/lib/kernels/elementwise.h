// Element-wise kernels over n int8 activations, and their gradients over int8 or int16 errors. "In
// place" means the very same pointer.
#pragma once

#include <cstdint>

#include "kernels/error_view.h"

namespace tbft {

struct AddParams {
  int32_t a_zero_point, b_zero_point, out_zero_point;
  int32_t a_multiplier, a_shift;  // shifts in [-31, 0] for a and b, [-31, 30] for out
  int32_t b_multiplier, b_shift;
  int32_t out_multiplier, out_shift;
  int32_t act_min, act_max;
};

// y is overwritten; y may be a or b, or lie below either (written in ascending order, never ahead
// of the reads).
void add_s8_fwd(const AddParams& params, const int8_t* a, const int8_t* b, uint32_t n, int8_t* y);
void add_s8_fwd_ref(const AddParams& params, const int8_t* a, const int8_t* b, uint32_t n,
                    int8_t* y);

// mask [(n + 7) / 8] is overwritten: bit i & 7 of byte i >> 3 is 1 where y[i] > act_min (and y[i] <
// act_max when relu6); unused bits of the last byte are 0. mask may lie at y.
void mask_pack(const int8_t* y, uint32_t n, int32_t act_min, int32_t act_max, bool relu6,
               uint8_t* mask);
constexpr uint64_t mask_bytes(uint64_t n) { return (n + 7) / 8; }

// out[i] = mask bit i ? e[i] : 0. In place allowed.
void mask_bwd(const int8_t* e, const uint8_t* mask, uint32_t n, int8_t* out);
void mask_bwd(const int16_t* e, const uint8_t* mask, uint32_t n, int16_t* out);

// out[i] = y[i] > act_min (and y[i] < act_max when relu6) ? e[i] : 0. In place allowed.
void relu_bwd(const int8_t* e, const int8_t* y, uint32_t n, int32_t act_min, int32_t act_max,
              bool relu6, int8_t* out);
void relu_bwd(const int16_t* e, const int8_t* y, uint32_t n, int32_t act_min, int32_t act_max,
              bool relu6, int16_t* out);

// Sum of two errors of a tensor with several consumers, normalised exactly, wide; out is
// overwritten and may be a.s16 or b.s16. Both are read as they are stored (shift and bits of the
// views do not matter). Returns the exponent of out. Exponents within +-30000.
int32_t error_add(const ErrorView& a, int32_t a_exponent, const ErrorView& b, int32_t b_exponent,
                  uint32_t n, int16_t* out);

// y [pixels, channels_out] = zero_point, x [pixels, channels_in], zero_point; before + channels_in
// <= channels_out. Pixels in ascending order; y must not overlap x unless it lies wholly before it
// by the rule of docs/artifact.md.
void channel_pad_fwd(const int8_t* x, int32_t pixels, int32_t channels_in, int32_t before,
                     int32_t channels_out, int32_t zero_point, int8_t* y);
// e_x [pixels, channels_in] = that slice of e_y [pixels, channels_out]. e_x may start at e_y (in
// place, ascending).
void channel_pad_bwd(const int8_t* e_y, int32_t pixels, int32_t channels_in, int32_t before,
                     int32_t channels_out, int8_t* e_x);
void channel_pad_bwd(const int16_t* e_y, int32_t pixels, int32_t channels_in, int32_t before,
                     int32_t channels_out, int16_t* e_x);

}  // namespace tbft
