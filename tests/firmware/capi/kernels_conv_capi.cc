// C interface of firmware/lib/kernels for tests/python/test_kernels_*.py. Shapes and parameters
// come as int32 arrays in the order of the structs' fields. variant: 0 reference, 1 the build's own
// choice, 2 portable.
#include <cstdint>

#include "kernels/conv2d.h"
#include "kernels/depthwise.h"
#include "kernels/dispatch.h"

namespace {

tbft::Conv2dShape conv_shape(const int32_t* v) {
  return {v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11]};
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

uint32_t k_conv2d_bwd_input(int32_t variant, const int32_t* shape, const tbft::ErrorView* e_y,
                            const int8_t* w, const int16_t* q, int32_t shift, void* scratch,
                            int8_t* e_x) {
  const tbft::Conv2dShape s = conv_shape(shape);
  if (variant == 0) return tbft::conv2d_s8_bwd_input_ref(s, *e_y, w, q, shift, e_x);
  if (variant == 2) return tbft::conv2d_s8_bwd_input_portable(s, *e_y, w, q, shift, scratch, e_x);
  return tbft::conv2d_s8_bwd_input(s, *e_y, w, q, shift, scratch, e_x);
}

// Returns 1 when every row came exactly once and in order.
int32_t k_conv2d_bwd_weight(int32_t variant, const int32_t* shape, const tbft::ErrorView* e_y,
                            const int8_t* x, int32_t zero_point, void* scratch, int32_t* g,
                            int32_t* bias) {
  const tbft::Conv2dShape s = conv_shape(shape);
  const int32_t row_length = s.kernel_h * s.kernel_w * s.in_c;
  if (variant == 0) {
    for (int32_t o = 0; o < s.out_c; ++o) {
      tbft::conv2d_s8_bwd_weight_row_ref(s, *e_y, x, zero_point, o, g + o * row_length, bias + o);
    }
    return 1;
  }
  GradientCopy copy = {row_length, g, bias, 0, true};
  if (variant == 2) {
    tbft::conv2d_s8_bwd_weight_portable(s, *e_y, x, zero_point, scratch, copy_gradient, &copy);
  } else {
    tbft::conv2d_s8_bwd_weight(s, *e_y, x, zero_point, scratch, copy_gradient, &copy);
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
                     const int32_t* numbers, int8_t* y) {
  const tbft::Conv2dShape s = conv_shape(shape);
  const tbft::Requantization rq = requantization(multiplier, shift, numbers);
  if (variant == 0) {
    tbft::depthwise_s8_fwd_ref(s, x, w, bias, rq, y);
  } else {
    tbft::depthwise_s8_fwd(s, x, w, bias, rq, y);
  }
}

uint32_t k_depthwise_bwd_input(int32_t variant, const int32_t* shape, const tbft::ErrorView* e_y,
                               const int8_t* w, const int16_t* q, int32_t shift, int8_t* e_x) {
  const tbft::Conv2dShape s = conv_shape(shape);
  if (variant == 0) return tbft::depthwise_s8_bwd_input_ref(s, *e_y, w, q, shift, e_x);
  return tbft::depthwise_s8_bwd_input(s, *e_y, w, q, shift, e_x);
}

void k_depthwise_bwd_weight(int32_t variant, const int32_t* shape, const tbft::ErrorView* e_y,
                            const int8_t* x, int32_t zero_point, int32_t* g, int32_t* bias) {
  const tbft::Conv2dShape s = conv_shape(shape);
  if (variant == 0) {
    tbft::depthwise_s8_bwd_weight_ref(s, *e_y, x, zero_point, g, bias);
  } else {
    tbft::depthwise_s8_bwd_weight(s, *e_y, x, zero_point, g, bias);
  }
}

uint64_t k_depthwise_bwd_weight_scratch_bytes(const int32_t* shape) {
  return tbft::depthwise_s8_bwd_weight_scratch_bytes(conv_shape(shape));
}

void k_bias_bwd(const tbft::ErrorView* e_y, int32_t pixels, int32_t channels, int32_t* bias) {
  tbft::bias_s8_bwd(*e_y, pixels, channels, bias);
}

// numbers: exponent of e_y, t, exponent of add.
int32_t k_affine_bwd(int32_t variant, int32_t pixels, int32_t channels, const tbft::ErrorView* e_y,
                     const int32_t* numbers, const int8_t* w, const int16_t* q,
                     const tbft::ErrorView* add, int16_t* e_x) {
  const auto function = variant == 0 ? tbft::affine_bwd_ref : tbft::affine_bwd;
  return function(pixels, channels, *e_y, numbers[0], w, q, numbers[1], *add, numbers[2], e_x);
}

uint32_t k_error_magnitude(const int16_t* e, uint32_t n) { return tbft::error_magnitude(e, n); }
uint32_t k_error_magnitude_narrow(const int8_t* e, uint32_t n) {
  return tbft::error_magnitude(e, n);
}

}  // extern "C"
