#include "runtime/executor.h"

#include <cstring>

#include "kernels/conv2d.h"
#include "kernels/depthwise.h"
#include "kernels/elementwise.h"
#include "kernels/pool.h"
#include "runtime/op_shapes.h"

namespace tbft {
namespace {

// Real models stay within +-200; the limit keeps every sum of exponents in range whatever an
// artifact says.
constexpr int64_t kMaxExponent = 30000;

}  // namespace

void Executor::bind(const Artifact* artifact, const RegionBases& bases) {
  artifact_ = artifact;
  bases_ = bases;
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
    if (op.opcode == Opcode::kLinearLoss) {
      loss(op, label, result, &work);
      if (!result->has_error) break;
    } else if (op.opcode < Opcode::kLinearLoss) {
      run_forward(op, &work);
    } else {
      run_backward(op, trainer, &work);
    }
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
      mask_pack(s8(x), n, op.act_min, op.act_max, op.numbers[0] == 1, bytes(y));
      work->masks += n;
      return;
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
    depthwise_s8_fwd(shape, s8(x), w, bias, rq, s8(y));
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

}  // namespace tbft
