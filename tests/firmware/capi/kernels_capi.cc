// C interface of the element-wise, pooling, loss and update kernels for
// tests/python/test_kernels_*.py; see kernels_conv_capi.cc.
#include <cstdint>

#include "kernels/elementwise.h"
#include "kernels/fixed_point.h"
#include "kernels/log_tables.h"
#include "kernels/pool.h"
#include "kernels/softmax_xent.h"
#include "kernels/update.h"

namespace {

tbft::PoolShape pool_shape(const int32_t* v) {
  return {v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8]};
}

}  // namespace

extern "C" {

void k_add_fwd(int32_t variant, const int32_t* p, const int8_t* a, const int8_t* b, uint32_t n,
               int8_t* y) {
  const tbft::AddParams params = {p[0], p[1], p[2], p[3], p[4], p[5],
                                  p[6], p[7], p[8], p[9], p[10]};
  if (variant == 0) {
    tbft::add_s8_fwd_ref(params, a, b, n, y);
  } else {
    tbft::add_s8_fwd(params, a, b, n, y);
  }
}

void k_mask_pack(const int8_t* y, uint32_t n, int32_t act_min, int32_t act_max, int32_t relu6,
                 uint8_t* mask) {
  tbft::mask_pack(y, n, act_min, act_max, relu6 != 0, mask);
}

// Errors and results of the following are int16 where wide is not 0, else int8.
void k_mask_bwd(int32_t wide, const void* e, const uint8_t* mask, uint32_t n, void* out) {
  if (wide != 0) {
    tbft::mask_bwd(static_cast<const int16_t*>(e), mask, n, static_cast<int16_t*>(out));
  } else {
    tbft::mask_bwd(static_cast<const int8_t*>(e), mask, n, static_cast<int8_t*>(out));
  }
}

void k_relu_bwd(int32_t wide, const void* e, const int8_t* y, uint32_t n, int32_t act_min,
                int32_t act_max, int32_t relu6, void* out) {
  if (wide != 0) {
    tbft::relu_bwd(static_cast<const int16_t*>(e), y, n, act_min, act_max, relu6 != 0,
                   static_cast<int16_t*>(out));
  } else {
    tbft::relu_bwd(static_cast<const int8_t*>(e), y, n, act_min, act_max, relu6 != 0,
                   static_cast<int8_t*>(out));
  }
}

int32_t k_error_add(const tbft::ErrorView* a, int32_t ea, const tbft::ErrorView* b, int32_t eb,
                    uint32_t n, int16_t* out) {
  return tbft::error_add(*a, ea, *b, eb, n, out);
}

void k_channel_pad_fwd(const int8_t* x, int32_t pixels, int32_t channels_in, int32_t before,
                       int32_t channels_out, int32_t zero_point, int8_t* y) {
  tbft::channel_pad_fwd(x, pixels, channels_in, before, channels_out, zero_point, y);
}

void k_channel_pad_bwd(int32_t wide, const void* e_y, int32_t pixels, int32_t channels_in,
                       int32_t before, int32_t channels_out, void* e_x) {
  if (wide != 0) {
    tbft::channel_pad_bwd(static_cast<const int16_t*>(e_y), pixels, channels_in, before,
                          channels_out, static_cast<int16_t*>(e_x));
  } else {
    tbft::channel_pad_bwd(static_cast<const int8_t*>(e_y), pixels, channels_in, before,
                          channels_out, static_cast<int8_t*>(e_x));
  }
}

void k_average_pool_fwd(const int32_t* shape, const int8_t* x, int8_t* y) {
  tbft::average_pool_s8_fwd(pool_shape(shape), x, y);
}

void k_max_pool_fwd(const int32_t* shape, const int8_t* x, int8_t* y) {
  tbft::max_pool_s8_fwd(pool_shape(shape), x, y);
}

int32_t k_average_pool_bwd(int32_t wide, const int32_t* shape, const void* e_y, void* e_x) {
  if (wide != 0) {
    return tbft::average_pool_bwd(pool_shape(shape), static_cast<const int16_t*>(e_y),
                                  static_cast<int16_t*>(e_x));
  }
  return tbft::average_pool_bwd(pool_shape(shape), static_cast<const int8_t*>(e_y),
                                static_cast<int8_t*>(e_x));
}

int32_t k_max_pool_bwd(int32_t wide, const int32_t* shape, const void* e_y, const int8_t* x,
                       void* e_x) {
  if (wide != 0) {
    return tbft::max_pool_bwd(pool_shape(shape), static_cast<const int16_t*>(e_y), x,
                              static_cast<int16_t*>(e_x));
  }
  return tbft::max_pool_bwd(pool_shape(shape), static_cast<const int8_t*>(e_y), x,
                            static_cast<int8_t*>(e_x));
}

// params: inputs, classes, zero point, multiplier, shift. out: loss in Q16, prediction, exponent,
// has_error.
void k_softmax_xent(const int32_t* p, const int32_t* acc, int32_t label, void* work, int8_t* e,
                    int64_t* out) {
  const tbft::LossResult r =
      tbft::softmax_xent({p[0], p[1], p[2], p[3], p[4]}, acc, label, work, e);
  out[0] = r.loss_q16;
  out[1] = r.prediction;
  out[2] = r.exponent;
  out[3] = r.has_error ? 1 : 0;
}

void k_linear_loss(const int32_t* p, const int8_t* x, const int8_t* w, const int32_t* bias,
                   int32_t label, void* scratch, int8_t* e, int64_t* out) {
  const tbft::LossResult r =
      tbft::linear_loss({p[0], p[1], p[2], p[3], p[4]}, x, w, bias, label, scratch, e);
  out[0] = r.loss_q16;
  out[1] = r.prediction;
  out[2] = r.exponent;
  out[3] = r.has_error ? 1 : 0;
}

uint64_t k_linear_loss_scratch_bytes(int32_t inputs, int32_t classes) {
  return tbft::linear_loss_scratch_bytes(inputs, classes);
}

int32_t k_log2_q16(uint64_t value) { return tbft::log2_q16(value); }
const int32_t* k_exp2_table() { return tbft::kExp2Table; }
const int32_t* k_log2_table() { return tbft::kLog2Table; }

void k_accumulate_row(int32_t variant, const int32_t* g, int32_t exponent, uint32_t n, int16_t* acc,
                      int16_t* acc_exponent) {
  if (variant == 0) {
    tbft::accumulate_row_ref(g, exponent, n, acc, acc_exponent);
  } else {
    tbft::accumulate_row(g, exponent, n, acc, acc_exponent);
  }
}

void k_accumulate_bias(int32_t g, int32_t exponent, int32_t* acc, int16_t* acc_exponent) {
  tbft::accumulate_bias(g, exponent, acc, acc_exponent);
}

// pairs: lr mantissa, lr exponent, rho mantissa, rho exponent.
void k_apply_row(int32_t variant, const int32_t* pairs, uint32_t n, uint32_t first, uint32_t stride,
                 int16_t* acc, int16_t* exponent, int8_t* w) {
  const tbft::NormalizedPair lr = {pairs[0], pairs[1]};
  const tbft::NormalizedPair rho = {pairs[2], pairs[3]};
  if (variant == 0) {
    tbft::apply_row_s8_ref(lr, rho, n, {first, stride}, acc, exponent, w);
  } else {
    tbft::apply_row_s8(lr, rho, n, {first, stride}, acc, exponent, w);
  }
}

void k_sgd_row(int32_t variant, const int32_t* pairs, uint32_t key, const int32_t* g,
               int32_t exponent, uint32_t n, uint32_t first, uint32_t stride, int8_t* w) {
  const tbft::SgdStep step = {{pairs[0], pairs[1]}, key};
  if (variant == 0) {
    tbft::sgd_row_s8_ref(step, {pairs[2], pairs[3]}, g, exponent, n, {first, stride}, w);
  } else {
    tbft::sgd_row_s8(step, {pairs[2], pairs[3]}, g, exponent, n, {first, stride}, w);
  }
}

void k_sgd_bias(const int32_t* pairs, uint32_t key, int32_t acc, int32_t exponent, uint32_t index,
                int32_t* bias) {
  tbft::sgd_bias({{pairs[0], pairs[1]}, key}, {pairs[2], pairs[3]}, acc, exponent, index, bias);
}

int32_t k_mbqm(int32_t x, int32_t multiplier, int32_t shift) {
  return tbft::multiply_by_quantized_multiplier(x, multiplier, shift);
}
int32_t k_rshift_round(int32_t a, int32_t n) { return tbft::rshift_round(a, n); }
int32_t k_bitlen(uint64_t n) { return tbft::bitlen(n); }
int32_t k_needed_shift(uint32_t largest) { return tbft::needed_shift(largest); }
int32_t k_level_of(uint32_t largest) { return tbft::level_of(largest); }
int32_t k_expected_shift(int32_t gain, uint32_t read) {
  return tbft::expected_shift(static_cast<uint8_t>(gain), read);
}
int32_t k_gain_after(int32_t gain, uint32_t read, uint32_t largest) {
  return tbft::gain_after(static_cast<uint8_t>(gain), read, largest);
}
int32_t k_shift_serves(int32_t shift, int32_t needed) {
  return tbft::shift_serves(shift, needed) ? 1 : 0;
}
uint32_t k_random_key(uint32_t seed, uint32_t step, uint32_t tensor) {
  return tbft::random_key(seed, step, tensor);
}
uint32_t k_random_bits16(uint32_t key, uint32_t index) { return tbft::random_bits16(key, index); }

}  // extern "C"
