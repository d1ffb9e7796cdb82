// C interface of firmware/lib/kernels for tests/python/test_kernels_*.py. Shapes and parameters
// come as int32 arrays in the order of the structs' fields. variant: 0 reference, 1 the build's own
// choice, 2 portable.
#include <cstdint>

#include "kernels/conv2d.h"
#include "kernels/depthwise.h"
#include "kernels/dispatch.h"
#include "kernels/elementwise.h"
#include "kernels/fixed_point.h"
#include "kernels/log_tables.h"
#include "kernels/pool.h"
#include "kernels/softmax_xent.h"
#include "kernels/update.h"

namespace {

tbft::Conv2dShape conv_shape(const int32_t* v) {
  return {v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11]};
}

tbft::PoolShape pool_shape(const int32_t* v) {
  return {v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8]};
}

// numbers: in zero point, out zero point, act_min, act_max.
tbft::Requantization requantization(const int32_t* multiplier, const int32_t* shift,
                                    const int32_t* numbers) {
  return {multiplier, shift, numbers[0], numbers[1], numbers[2], numbers[3]};
}

struct GradientCopy {
  int32_t row_length;
  int32_t* g;
  int32_t* bias;
  int32_t next_row;
  bool in_order;
};

void copy_gradient(void* context, const tbft::GradientRows& rows) {
  GradientCopy& copy = *static_cast<GradientCopy*>(context);
  copy.in_order = copy.in_order && rows.first_row == copy.next_row;
  for (int32_t r = 0; r < rows.count; ++r) {
    const int64_t row = rows.first_row + r;
    for (int32_t k = 0; k < copy.row_length; ++k) copy.g[row * copy.row_length + k] = rows.g[r][k];
    copy.bias[row] = rows.bias[r];
  }
  copy.next_row = rows.first_row + rows.count;
}

}  // namespace

extern "C" {

int32_t k_uses_x86() { return TBFT_KERNELS_X86; }

void k_conv2d_fwd(int32_t variant, const int32_t* shape, const int8_t* x, const int8_t* w,
                  const int32_t* bias, const int32_t* multiplier, const int32_t* shift,
                  const int32_t* numbers, void* scratch, int8_t* y) {
  const tbft::Conv2dShape s = conv_shape(shape);
  const tbft::Requantization rq = requantization(multiplier, shift, numbers);
  if (variant == 0) tbft::conv2d_s8_fwd_ref(s, x, w, bias, rq, y);
  if (variant == 1) tbft::conv2d_s8_fwd(s, x, w, bias, rq, scratch, y);
  if (variant == 2) tbft::conv2d_s8_fwd_portable(s, x, w, bias, rq, scratch, y);
}

uint32_t k_conv2d_bwd_input(int32_t variant, const int32_t* shape, const int8_t* e_y,
                            const int8_t* w, const int16_t* q, int32_t shift, void* scratch,
                            int8_t* e_x) {
  const tbft::Conv2dShape s = conv_shape(shape);
  if (variant == 0) return tbft::conv2d_s8_bwd_input_ref(s, e_y, w, q, shift, e_x);
  if (variant == 2) return tbft::conv2d_s8_bwd_input_portable(s, e_y, w, q, shift, scratch, e_x);
  return tbft::conv2d_s8_bwd_input(s, e_y, w, q, shift, scratch, e_x);
}

// Returns 1 when every row came exactly once and in order.
int32_t k_conv2d_bwd_weight(int32_t variant, const int32_t* shape, const int8_t* e_y,
                            const int8_t* x, int32_t zero_point, void* scratch, int32_t* g,
                            int32_t* bias) {
  const tbft::Conv2dShape s = conv_shape(shape);
  const int32_t row_length = s.kernel_h * s.kernel_w * s.in_c;
  if (variant == 0) {
    for (int32_t o = 0; o < s.out_c; ++o) {
      tbft::conv2d_s8_bwd_weight_row_ref(s, e_y, x, zero_point, o, g + o * row_length, bias + o);
    }
    return 1;
  }
  GradientCopy copy = {row_length, g, bias, 0, true};
  if (variant == 2) {
    tbft::conv2d_s8_bwd_weight_portable(s, e_y, x, zero_point, scratch, copy_gradient, &copy);
  } else {
    tbft::conv2d_s8_bwd_weight(s, e_y, x, zero_point, scratch, copy_gradient, &copy);
  }
  return copy.in_order && copy.next_row == s.out_c ? 1 : 0;
}

// which: 0 forward, 1 input gradient, 2 weight gradient.
uint64_t k_conv2d_scratch_bytes(int32_t which, const int32_t* shape) {
  const tbft::Conv2dShape s = conv_shape(shape);
  if (which == 0) return tbft::conv2d_s8_fwd_scratch_bytes(s);
  if (which == 1) return tbft::conv2d_s8_bwd_input_scratch_bytes(s);
  return tbft::conv2d_s8_bwd_weight_scratch_bytes(s);
}

void k_depthwise_fwd(int32_t variant, const int32_t* shape, const int8_t* x, const int8_t* w,
                     const int32_t* bias, const int32_t* multiplier, const int32_t* shift,
                     const int32_t* numbers, void* scratch, int8_t* y) {
  const tbft::Conv2dShape s = conv_shape(shape);
  const tbft::Requantization rq = requantization(multiplier, shift, numbers);
  if (variant == 0) {
    tbft::depthwise_s8_fwd_ref(s, x, w, bias, rq, y);
  } else {
    tbft::depthwise_s8_fwd(s, x, w, bias, rq, scratch, y);
  }
}

uint32_t k_depthwise_bwd_input(int32_t variant, const int32_t* shape, const int8_t* e_y,
                               const int8_t* w, const int16_t* q, int32_t shift, void* scratch,
                               int8_t* e_x) {
  const tbft::Conv2dShape s = conv_shape(shape);
  if (variant == 0) return tbft::depthwise_s8_bwd_input_ref(s, e_y, w, q, shift, e_x);
  return tbft::depthwise_s8_bwd_input(s, e_y, w, q, shift, scratch, e_x);
}

void k_depthwise_bwd_weight(int32_t variant, const int32_t* shape, const int8_t* e_y,
                            const int8_t* x, int32_t zero_point, int32_t* g, int32_t* bias) {
  const tbft::Conv2dShape s = conv_shape(shape);
  if (variant == 0) {
    tbft::depthwise_s8_bwd_weight_ref(s, e_y, x, zero_point, g, bias);
  } else {
    tbft::depthwise_s8_bwd_weight(s, e_y, x, zero_point, g, bias);
  }
}

uint64_t k_depthwise_scratch_bytes(int32_t which, const int32_t* shape) {
  const tbft::Conv2dShape s = conv_shape(shape);
  return which == 2 ? tbft::depthwise_s8_bwd_weight_scratch_bytes(s)
                    : tbft::depthwise_s8_scratch_bytes(s);
}

void k_bias_bwd(const int8_t* e_y, int32_t pixels, int32_t channels, int32_t* bias) {
  tbft::bias_s8_bwd(e_y, pixels, channels, bias);
}

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

void k_mask_bwd(const int8_t* e, const uint8_t* mask, uint32_t n, int8_t* out) {
  tbft::mask_bwd(e, mask, n, out);
}

void k_relu_bwd(const int8_t* e, const int8_t* y, uint32_t n, int32_t act_min, int32_t act_max,
                int32_t relu6, int8_t* out) {
  tbft::relu_bwd(e, y, n, act_min, act_max, relu6 != 0, out);
}

int32_t k_error_add(const int8_t* a, int32_t ea, const int8_t* b, int32_t eb, uint32_t n,
                    int8_t* out) {
  return tbft::error_add(a, ea, b, eb, n, out);
}

void k_channel_pad_fwd(const int8_t* x, int32_t pixels, int32_t channels_in, int32_t before,
                       int32_t channels_out, int32_t zero_point, int8_t* y) {
  tbft::channel_pad_fwd(x, pixels, channels_in, before, channels_out, zero_point, y);
}

void k_channel_pad_bwd(const int8_t* e_y, int32_t pixels, int32_t channels_in, int32_t before,
                       int32_t channels_out, int8_t* e_x) {
  tbft::channel_pad_bwd(e_y, pixels, channels_in, before, channels_out, e_x);
}

void k_average_pool_fwd(const int32_t* shape, const int8_t* x, int8_t* y) {
  tbft::average_pool_s8_fwd(pool_shape(shape), x, y);
}

void k_max_pool_fwd(const int32_t* shape, const int8_t* x, int8_t* y) {
  tbft::max_pool_s8_fwd(pool_shape(shape), x, y);
}

int32_t k_average_pool_bwd(const int32_t* shape, const int8_t* e_y, int8_t* e_x) {
  return tbft::average_pool_bwd(pool_shape(shape), e_y, e_x);
}

int32_t k_max_pool_bwd(const int32_t* shape, const int8_t* e_y, const int8_t* x, int8_t* e_x) {
  return tbft::max_pool_bwd(pool_shape(shape), e_y, x, e_x);
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
void k_sgd_row_s16(int32_t variant, const int32_t* pairs, uint32_t key, const int16_t* acc,
                   int32_t exponent, uint32_t n, uint32_t first, uint32_t stride, int8_t* w) {
  const tbft::SgdStep step = {{pairs[0], pairs[1]}, key};
  if (variant == 0) {
    tbft::sgd_row_s8_ref(step, {pairs[2], pairs[3]}, acc, exponent, n, {first, stride}, w);
  } else {
    tbft::sgd_row_s8(step, {pairs[2], pairs[3]}, acc, exponent, n, {first, stride}, w);
  }
}

void k_sgd_row_s32(const int32_t* pairs, uint32_t key, const int32_t* g, int32_t exponent,
                   uint32_t n, uint32_t first, uint32_t stride, int8_t* w) {
  const tbft::SgdStep step = {{pairs[0], pairs[1]}, key};
  tbft::sgd_row_s8(step, {pairs[2], pairs[3]}, g, exponent, n, {first, stride}, w);
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
uint32_t k_next_shift_state(uint32_t state, uint32_t largest) {
  return tbft::next_shift_state(static_cast<uint8_t>(state), largest);
}
uint32_t k_random_key(uint32_t seed, uint32_t step, uint32_t tensor) {
  return tbft::random_key(seed, step, tensor);
}
uint32_t k_random_bits16(uint32_t key, uint32_t index) { return tbft::random_bits16(key, index); }

}  // extern "C"
