#include "runtime/executor.h"

#include <cstring>

#include "kernels/conv2d.h"
#include "kernels/depthwise.h"
#include "kernels/elementwise.h"
#include "kernels/fixed_point.h"
#include "kernels/pool.h"
#include "runtime/op_shapes.h"

namespace tbft {
namespace {

// Real models stay within +-200; the limit keeps every sum of exponents in range whatever an
// artifact says.
constexpr int64_t kMaxExponent = 30000;

uint64_t convolution_macs(const Conv2dShape& s, bool depthwise) {
  const uint64_t outputs = uint64_t{static_cast<uint32_t>(s.out_h)} *
                           static_cast<uint32_t>(s.out_w) * static_cast<uint32_t>(s.out_c);
  const uint64_t taps =
      uint64_t{static_cast<uint32_t>(s.kernel_h)} * static_cast<uint32_t>(s.kernel_w);
  return outputs * taps * (depthwise ? 1 : static_cast<uint32_t>(s.in_c));
}

}  // namespace

template <typename T>
const T* Executor::data(const Tensor& tensor) const {
  const uint8_t* p =
      tensor.place == Place::kConst ? artifact_->constant(tensor) : arena_ + tensor.offset;
  return reinterpret_cast<const T*>(p);
}

void Executor::bind(const Artifact* artifact, uint8_t* arena) {
  artifact_ = artifact;
  arena_ = arena;
  memset(exponents_, 0, sizeof exponents_);
  reset_states();
}

void Executor::reset_states() { memset(states_, 0, sizeof states_); }

void Executor::set_exponent(const Tensor& error, int64_t exponent) {
  if (exponent > kMaxExponent) exponent = kMaxExponent;
  if (exponent < -kMaxExponent) exponent = -kMaxExponent;
  exponents_[error.exponent_slot] = static_cast<int16_t>(exponent);
}

Work Executor::forward(ProgramKind program, bool training) {
  Work work;
  const Program range = artifact_->program(program);
  for (uint32_t i = range.first; i < range.first + range.count; ++i) {
    const Op op = artifact_->op(i);
    if (training || !op.training_only) run_forward(op, &work);
  }
  return work;
}

Work Executor::backward(uint16_t label, Trainer* trainer, LossResult* result) {
  Work work;
  const Program range = artifact_->program(ProgramKind::kBackward);
  for (uint32_t i = range.first; i < range.first + range.count; ++i) {
    const Op op = artifact_->op(i);
    if (op.opcode != Opcode::kLinearLoss) {
      run_backward(op, trainer, &work);
      continue;
    }
    loss(op, label, result, &work);
    if (!result->has_error) break;
  }
  return work;
}

void Executor::run_forward(const Op& op, Work* work) {
  const Tensor x = artifact_->tensor(op.in0);
  const Tensor y = artifact_->tensor(op.out);
  const uint32_t n = static_cast<uint32_t>(x.elements());
  switch (op.opcode) {
    case Opcode::kConv2d:
    case Opcode::kDepthwiseConv2d:
      convolution(op, work);
      return;
    case Opcode::kAdd:
      add(op);
      break;
    case Opcode::kAveragePool:
      average_pool_s8_fwd(pool_shape(op, x, y), s8(x), s8(y));
      break;
    case Opcode::kMaxPool:
      max_pool_s8_fwd(pool_shape(op, x, y), s8(x), s8(y));
      break;
    case Opcode::kChannelPad:
      channel_pad_fwd(s8(x), static_cast<int32_t>(x.shape[1] * x.shape[2]),
                      static_cast<int32_t>(x.shape[3]), op.numbers[0],
                      static_cast<int32_t>(y.shape[3]), x.zero_point, s8(y));
      break;
    case Opcode::kMask:
      mask_pack(s8(x), n, op.act_min, op.act_max, op.numbers[0] == 1, arena_ + y.offset);
      break;
    default:
      return;  // the loader lets no other op into these programs
  }
  work->elements += y.elements();
}

void Executor::convolution(const Op& op, Work* work) {
  const Tensor x = artifact_->tensor(op.in0);
  const Tensor y = artifact_->tensor(op.out);
  Requantization rq;
  rq.multiplier = data<int32_t>(artifact_->tensor(op.multipliers));
  rq.shift = data<int32_t>(artifact_->tensor(op.shifts));
  rq.in_zero_point = x.zero_point;
  rq.out_zero_point = y.zero_point;
  rq.act_min = op.act_min;
  rq.act_max = op.act_max;
  const Conv2dShape shape = conv_shape(op, x, y);
  const int8_t* w = data<int8_t>(artifact_->tensor(op.weights));
  const int32_t* bias = data<int32_t>(artifact_->tensor(op.bias));
  const bool depthwise = op.opcode == Opcode::kDepthwiseConv2d;
  if (depthwise) {
    depthwise_s8_fwd(shape, s8(x), w, bias, rq, scratch(op), s8(y));
  } else {
    conv2d_s8_fwd(shape, s8(x), w, bias, rq, scratch(op), s8(y));
  }
  work->macs += convolution_macs(shape, depthwise);
}

void Executor::add(const Op& op) {
  const Tensor a = artifact_->tensor(op.in0);
  const Tensor b = artifact_->tensor(op.in1);
  const Tensor y = artifact_->tensor(op.out);
  const int32_t* m = data<int32_t>(artifact_->tensor(op.multipliers));
  AddParams p;
  p.a_zero_point = a.zero_point;
  p.b_zero_point = b.zero_point;
  p.out_zero_point = y.zero_point;
  p.a_multiplier = m[0];
  p.a_shift = m[1];
  p.b_multiplier = m[2];
  p.b_shift = m[3];
  p.out_multiplier = m[4];
  p.out_shift = m[5];
  p.act_min = op.act_min;
  p.act_max = op.act_max;
  add_s8_fwd(p, s8(a), s8(b), static_cast<uint32_t>(y.elements()), s8(y));
}

void Executor::loss(const Op& op, uint16_t label, LossResult* result, Work* work) {
  const Header& header = artifact_->header();
  const Tensor x = artifact_->tensor(op.in0);
  const Tensor e = artifact_->tensor(op.out);
  LossParams p;
  p.inputs = static_cast<int32_t>(x.elements());
  p.classes = static_cast<int32_t>(header.classes);
  p.x_zero_point = x.zero_point;
  p.multiplier = header.loss_multiplier;
  p.shift = header.loss_shift;
  *result = linear_loss(p, s8(x), data<int8_t>(artifact_->tensor(op.weights)),
                        data<int32_t>(artifact_->tensor(op.bias)), label, scratch(op), s8(e));
  set_exponent(e, result->has_error ? result->exponent : 0);
  work->macs += x.elements() * header.classes;
  work->elements += header.classes;
}

void Executor::run_backward(const Op& op, Trainer* trainer, Work* work) {
  const Tensor in = artifact_->tensor(op.in0);
  const uint32_t n = static_cast<uint32_t>(in.elements());
  switch (op.opcode) {
    case Opcode::kConv2dBwdInput:
    case Opcode::kDepthwiseBwdInput:
      return input_gradient(op, work);
    case Opcode::kConv2dBwdWeight:
      return conv2d_weight_gradient(op, trainer, work);
    case Opcode::kDepthwiseBwdWeight:
      return depthwise_weight_gradient(op, trainer, work);
    default:
      break;
  }
  const Tensor out = artifact_->tensor(op.out);
  switch (op.opcode) {
    case Opcode::kMaskBwd:
      mask_bwd(s8(in), arena_ + artifact_->tensor(op.in1).offset, n, s8(out));
      break;
    case Opcode::kReluBwd:
      relu_bwd(s8(in), activation(op.in1), n, op.act_min, op.act_max, op.numbers[0] == 1, s8(out));
      break;
    case Opcode::kErrorAdd: {
      const Tensor b = artifact_->tensor(op.in1);
      set_exponent(out, tbft::error_add(s8(in), exponent(in), s8(b), exponent(b), n, s8(out)));
      break;
    }
    case Opcode::kAveragePoolBwd:
    case Opcode::kMaxPoolBwd:
      pool_gradient(op);
      break;
    case Opcode::kChannelPadBwd:
      channel_pad_bwd(s8(in), static_cast<int32_t>(in.shape[1] * in.shape[2]),
                      static_cast<int32_t>(out.shape[3]), op.numbers[0],
                      static_cast<int32_t>(in.shape[3]), s8(out));
      set_exponent(out, exponent(in));
      break;
    case Opcode::kErrorCopy:
      memcpy(s8(out), s8(in), in.bytes);
      set_exponent(out, exponent(in));
      break;
    default:
      return;  // the loader lets no other op into this program
  }
  work->elements += out.elements();
}

void Executor::pool_gradient(const Op& op) {
  const Tensor ey = artifact_->tensor(op.in0);
  const Tensor ex = artifact_->tensor(op.out);
  const PoolShape shape = pool_shape(op, ex, ey);
  const int32_t change = op.opcode == Opcode::kMaxPoolBwd
                             ? max_pool_bwd(shape, s8(ey), activation(op.in1), s8(ex))
                             : average_pool_bwd(shape, s8(ey), s8(ex));
  set_exponent(ex, int64_t{exponent(ey)} + change);
}

void Executor::input_gradient(const Op& op, Work* work) {
  const Tensor ey = artifact_->tensor(op.in0);
  const Tensor ex = artifact_->tensor(op.out);
  const Conv2dShape shape = conv_shape(op, ex, ey);
  const int8_t* w = data<int8_t>(artifact_->tensor(op.weights));
  const int16_t* q = data<int16_t>(artifact_->tensor(op.multipliers));
  const bool depthwise = op.opcode == Opcode::kDepthwiseBwdInput;
  const auto run = [&](int32_t shift) {
    work->macs += convolution_macs(shape, depthwise);
    return depthwise ? depthwise_s8_bwd_input(shape, s8(ey), w, q, shift, scratch(op), s8(ex))
                     : conv2d_s8_bwd_input(shape, s8(ey), w, q, shift, scratch(op), s8(ex));
  };
  // The state is a guess that holds almost always; only an error that has grown since costs a
  // second run.
  uint8_t& state = states_[op.shift_state];
  int32_t shift = state;
  const uint32_t largest = run(shift);
  if (needed_shift(largest) > shift) {
    shift = needed_shift(largest);
    run(shift);
  }
  state = next_shift_state(state, largest);
  set_exponent(ex, int64_t{exponent(ey)} + op.t + shift);
}

namespace {

struct RowReceiver {
  Trainer* trainer;
  Trainer::Node node;
  int32_t exponent;
  uint64_t updates;

  static void take(void* context, const GradientRows& rows) {
    RowReceiver* self = static_cast<RowReceiver*>(context);
    for (int32_t r = 0; r < rows.count; ++r) {
      self->updates +=
          self->trainer->take_row(self->node, static_cast<uint32_t>(rows.first_row + r), rows.g[r],
                                  rows.bias[r], self->exponent);
    }
  }
};

}  // namespace

void Executor::conv2d_weight_gradient(const Op& op, Trainer* trainer, Work* work) {
  const Tensor ey = artifact_->tensor(op.in0);
  const Tensor x = artifact_->tensor(op.in1);
  const Conv2dShape shape = conv_shape(op, x, ey);
  RowReceiver receiver = {trainer, trainer->node(op.trained), exponent(ey), 0};
  conv2d_s8_bwd_weight(shape, s8(ey), s8(x), x.zero_point, scratch(op), &RowReceiver::take,
                       &receiver);
  work->macs += convolution_macs(shape, false);
  work->updates += receiver.updates;
}

void Executor::depthwise_weight_gradient(const Op& op, Trainer* trainer, Work* work) {
  const Tensor ey = artifact_->tensor(op.in0);
  const Trainer::Node node = trainer->node(op.trained);
  int32_t* weights = static_cast<int32_t*>(scratch(op));
  int32_t* bias = weights + size_t{node.rows} * node.row_length;
  if (node.row_length == 0) {
    bias_s8_bwd(s8(ey), static_cast<int32_t>(ey.shape[1] * ey.shape[2]),
                static_cast<int32_t>(ey.shape[3]), bias);
    work->elements += ey.elements();
  } else {
    const Tensor x = artifact_->tensor(op.in1);
    const Conv2dShape shape = conv_shape(op, x, ey);
    depthwise_s8_bwd_weight(shape, s8(ey), s8(x), x.zero_point, weights, bias);
    work->macs += convolution_macs(shape, true);
  }
  for (uint32_t row = 0; row < node.rows; ++row) {
    work->updates += trainer->take_row(node, row, weights + size_t{row} * node.row_length,
                                       bias[row], exponent(ey));
  }
}

}  // namespace tbft
