#include <cstring>

#include "kernels/conv2d.h"
#include "kernels/depthwise.h"
#include "kernels/elementwise.h"
#include "kernels/error_view.h"
#include "kernels/fixed_point.h"
#include "kernels/pool.h"
#include "runtime/executor.h"
#include "runtime/op_shapes.h"

namespace tbft {
namespace {

constexpr int32_t kNarrowBits = 7;

// Bits of a wide error that a sum over so many output positions can take in 32 bits.
int32_t weight_gradient_bits(const Tensor& ey) {
  return clamp(22 - bitlen(uint64_t{ey.shape[1]} * ey.shape[2] - 1), kNarrowBits, 11);
}

}  // namespace

ErrorView Executor::view(const Tensor& error) const {
  ErrorView v = {};
  if (is_wide(error)) {
    v.s16 = s16(error);
  } else {
    v.s8 = s8(error);
  }
  return v;
}

Executor::ReadError Executor::read(const Tensor& error, int32_t bits) const {
  ReadError e = {view(error), exponent(error), 0};
  if (!is_wide(error)) return e;
  e.largest = error_magnitude(e.view.s16, static_cast<uint32_t>(error.elements()));
  const int32_t excess = bitlen(e.largest) - bits;
  e.view.shift = excess > 0 ? excess : 0;
  e.view.bits = bits;
  e.exponent += e.view.shift;
  return e;
}

void Executor::run_backward(const Op& op, Trainer* trainer, Work* work) {
  switch (op.opcode) {
    case Opcode::kConv2dBwdInput:
    case Opcode::kDepthwiseBwdInput:
      return input_gradient(op, work);
    case Opcode::kAffineBwd:
      return affine_gradient(op, work);
    case Opcode::kConv2dBwdWeight:
      return conv2d_weight_gradient(op, trainer, work);
    case Opcode::kDepthwiseBwdWeight:
      return depthwise_weight_gradient(op, trainer, work);
    case Opcode::kMaskBwd:
    case Opcode::kReluBwd:
      activation_gradient(op);
      break;
    case Opcode::kErrorAdd: {
      const Tensor a = artifact_->tensor(op.in0);
      const Tensor b = artifact_->tensor(op.in1);
      const Tensor out = artifact_->tensor(op.out);
      const uint32_t n = static_cast<uint32_t>(out.elements());
      set_exponent(out, error_add(view(a), exponent(a), view(b), exponent(b), n, s16(out)));
      break;
    }
    case Opcode::kAveragePoolBwd:
    case Opcode::kMaxPoolBwd:
      pool_gradient(op);
      break;
    case Opcode::kChannelPadBwd:
    case Opcode::kErrorCopy:
      move_error(op);
      break;
    default:
      return;  // the loader lets no other op into this program
  }
  work->elements += artifact_->tensor(op.out).elements();
}

void Executor::activation_gradient(const Op& op) {
  const Tensor e = artifact_->tensor(op.in0);
  const Tensor keep = artifact_->tensor(op.in1);
  const uint32_t n = static_cast<uint32_t>(e.elements());
  const bool relu6 = op.numbers[0] == 1;
  if (op.opcode == Opcode::kMaskBwd) {
    const uint8_t* bits = bytes(keep);
    if (is_wide(e)) {
      mask_bwd(s16(e), bits, n, s16(e));
    } else {
      mask_bwd(s8(e), bits, n, s8(e));
    }
  } else if (is_wide(e)) {
    relu_bwd(s16(e), s8(keep), n, op.act_min, op.act_max, relu6, s16(e));
  } else {
    relu_bwd(s8(e), s8(keep), n, op.act_min, op.act_max, relu6, s8(e));
  }
}

void Executor::move_error(const Op& op) {
  const Tensor in = artifact_->tensor(op.in0);
  const Tensor out = artifact_->tensor(op.out);
  const int32_t pixels = static_cast<int32_t>(in.shape[1] * in.shape[2]);
  const int32_t channels_in = static_cast<int32_t>(out.shape[3]);  // as the forward op names them
  const int32_t channels_out = static_cast<int32_t>(in.shape[3]);
  if (op.opcode == Opcode::kErrorCopy) {
    memcpy(bytes(out), bytes(in), in.bytes);
  } else if (is_wide(in)) {
    channel_pad_bwd(s16(in), pixels, channels_in, op.numbers[0], channels_out, s16(out));
  } else {
    channel_pad_bwd(s8(in), pixels, channels_in, op.numbers[0], channels_out, s8(out));
  }
  set_exponent(out, exponent(in));
}

void Executor::pool_gradient(const Op& op) {
  const Tensor ey = artifact_->tensor(op.in0);
  const Tensor ex = artifact_->tensor(op.out);
  const PoolShape shape = pool_shape(op, ex, ey);
  const int8_t* x = op.opcode == Opcode::kMaxPoolBwd ? activation(op.in1) : nullptr;
  int32_t change = 0;
  if (is_wide(ey)) {
    change = x != nullptr ? max_pool_bwd(shape, s16(ey), x, s16(ex))
                          : average_pool_bwd(shape, s16(ey), s16(ex));
  } else {
    change = x != nullptr ? max_pool_bwd(shape, s8(ey), x, s8(ex))
                          : average_pool_bwd(shape, s8(ey), s8(ex));
  }
  set_exponent(ex, int64_t{exponent(ey)} + change);
}

void Executor::input_gradient(const Op& op, Work* work) {
  const Tensor ey = artifact_->tensor(op.in0);
  const Tensor ex = artifact_->tensor(op.out);
  const Conv2dShape shape = conv_shape(op, ex, ey);
  const ReadError e = read(ey, kNarrowBits);
  const int8_t* w = data<int8_t>(artifact_->tensor(op.weights));
  const int16_t* q = data<int16_t>(artifact_->tensor(op.multipliers));
  const bool depthwise = op.opcode == Opcode::kDepthwiseBwdInput;
  const auto run = [&](int32_t shift) {
    work->macs += convolution_macs(shape, depthwise);
    return depthwise ? depthwise_s8_bwd_input(shape, e.view, w, q, shift, s8(ex))
                     : conv2d_s8_bwd_input(shape, e.view, w, q, shift, scratch(op), s8(ex));
  };
  // What the gain of the last samples makes of the errors read serves seven times in eight;
  // otherwise a second run with the exact shift.
  const uint32_t size = static_cast<uint32_t>(ey.elements());
  const uint32_t largest_read =
      is_wide(ey) ? e.largest >> e.view.shift : error_magnitude(e.view.s8, size);
  uint8_t& gain = states_[op.shift_state];
  int32_t shift = expected_shift(gain, largest_read);
  const uint32_t largest = run(shift);
  const int32_t needed = needed_shift(largest);
  if (!shift_serves(shift, needed)) {
    shift = needed;
    if (largest != 0) run(shift);
  }
  gain = gain_after(gain, largest_read, largest);
  set_exponent(ex, int64_t{e.exponent} + op.t + shift);
}

void Executor::affine_gradient(const Op& op, Work* work) {
  const Tensor ey = artifact_->tensor(op.in0);
  const Tensor ex = artifact_->tensor(op.out);
  const ReadError e = read(ey, kNarrowBits);
  ErrorView other = {};
  int32_t other_exponent = 0;
  if (op.in1 != kNone) {
    const Tensor in1 = artifact_->tensor(op.in1);
    other = view(in1);
    other_exponent = exponent(in1);
  }
  const int32_t result = affine_bwd(
      static_cast<int32_t>(ey.shape[1] * ey.shape[2]), static_cast<int32_t>(ey.shape[3]), e.view,
      e.exponent, data<int8_t>(artifact_->tensor(op.weights)),
      data<int16_t>(artifact_->tensor(op.multipliers)), op.t, other, other_exponent, s16(ex));
  set_exponent(ex, result);
  work->macs += ey.elements();
}

namespace {

struct RowReceiver {
  Trainer* trainer;
  Trainer::Node node;
  int32_t exponent;
  Work* work;

  static void take(void* context, const GradientRows& rows) {
    RowReceiver* self = static_cast<RowReceiver*>(context);
    for (int32_t r = 0; r < rows.count; ++r) {
      const uint32_t row = static_cast<uint32_t>(rows.first_row + r);
      self->trainer->take_row(self->node, row, rows.g[r], rows.bias[r], self->exponent, self->work);
    }
  }
};

}  // namespace

void Executor::conv2d_weight_gradient(const Op& op, Trainer* trainer, Work* work) {
  const Tensor ey = artifact_->tensor(op.in0);
  const Tensor x = artifact_->tensor(op.in1);
  const Conv2dShape shape = conv_shape(op, x, ey);
  const ReadError e = read(ey, weight_gradient_bits(ey));
  RowReceiver receiver = {trainer, trainer->node(op.trained), e.exponent, work};
  conv2d_s8_bwd_weight(shape, e.view, s8(x), x.zero_point, scratch(op), &RowReceiver::take,
                       &receiver);
  const uint64_t macs = convolution_macs(shape, false);
  work->macs += macs;
  work->weight_macs += macs;
}

void Executor::depthwise_weight_gradient(const Op& op, Trainer* trainer, Work* work) {
  const Tensor ey = artifact_->tensor(op.in0);
  const ReadError e = read(ey, weight_gradient_bits(ey));
  const Trainer::Node node = trainer->node(op.trained);
  int32_t* weights = static_cast<int32_t*>(scratch(op));
  int32_t* bias = weights + size_t{node.rows} * node.row_length;
  if (node.row_length == 0) {
    bias_s8_bwd(e.view, static_cast<int32_t>(ey.shape[1] * ey.shape[2]),
                static_cast<int32_t>(ey.shape[3]), bias);
    work->elements += ey.elements();
  } else {
    const Tensor x = artifact_->tensor(op.in1);
    const Conv2dShape shape = conv_shape(op, x, ey);
    depthwise_s8_bwd_weight(shape, e.view, s8(x), x.zero_point, weights, bias);
    const uint64_t macs = convolution_macs(shape, true);
    work->macs += macs;
    work->weight_macs += macs;
  }
  for (uint32_t row = 0; row < node.rows; ++row) {
    const int32_t* g = weights + size_t{row} * node.row_length;
    trainer->take_row(node, row, g, bias[row], e.exponent, work);
  }
}

}  // namespace tbft
