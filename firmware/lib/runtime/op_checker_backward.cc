#include "kernels/conv2d.h"
#include "kernels/depthwise.h"
#include "kernels/softmax_xent.h"
#include "runtime/op_checker.h"
#include "runtime/op_shapes.h"

namespace tbft {

namespace {

constexpr uint64_t kMaxInputGradientTerms = 8192;
constexpr uint64_t kMaxPixels = 65536;
constexpr int32_t kMaxScaleExponent = 256;

}  // namespace

StatusCode OpChecker::linear_loss() {
  Tensor x, e, w, b;
  if (!load_image(op_.in0, Role::kActivation, &x) || !load_error(op_.out, ElementType::kInt8, &e) ||
      !load(op_.weights, Role::kWeights, &w) || !load(op_.bias, Role::kBias, &b) ||
      !parameters_trained(op_.weights, false) || !parameters_trained(op_.bias, true) ||
      !absent({op_.in1, op_.in2, op_.multipliers, op_.shifts})) {
    return Code::kOpTensor;
  }
  const uint64_t inputs = x.elements();
  const uint32_t classes = artifact_.header().classes;
  if (x.shape[1] != 1 || x.shape[2] != 1 || e.shape[1] != 1 || e.shape[2] != 1 ||
      e.shape[3] != classes || b.elements() != classes || w.shape[0] != classes ||
      w.shape[1] != 1 || w.shape[2] != 1 || w.shape[3] != inputs) {
    return Code::kOpGeometry;
  }
  if (inputs * 127 * 255 >= kMaxForwardSum) return Code::kOpLimit;
  const Code code = scratch(
      linear_loss_scratch_bytes(static_cast<int32_t>(inputs), static_cast<int32_t>(classes)),
      {&x, &e});
  return code == Code::kOk ? overlap(x, e, Overlap::kForbidden) : code;
}

// The factors of the weights that an input gradient scales on the fly, and their exponent.
StatusCode OpChecker::scaled_weights(const Tensor& ey) const {
  Tensor q;
  if (!load(op_.multipliers, Role::kFactors, &q) || q.elements() != ey.shape[3]) {
    return Code::kOpTensor;
  }
  if (op_.t < -kMaxScaleExponent || op_.t > kMaxScaleExponent) return Code::kOpNumber;
  return Code::kOk;
}

StatusCode OpChecker::input_gradient(bool depthwise) {
  Tensor ey, ex, w;
  const bool affine =
      depthwise && op_.kernel_h == 1 && op_.kernel_w == 1 && op_.stride_h == 1 && op_.stride_w == 1;
  if (affine) return Code::kOpLimit;  // its gradient is exact and wide: kAffineBwd
  if (!load_error(op_.in0, &ey) || !load_error(op_.out, ElementType::kInt8, &ex) ||
      !load(op_.weights, Role::kWeights, &w) || !parameters_trained(op_.weights, false) ||
      !absent({op_.in1, op_.in2, op_.bias, op_.shifts})) {
    return Code::kOpTensor;
  }
  Code code = scaled_weights(ey);
  if (code == Code::kOk) code = convolution_limits(ex, ey, w, depthwise);
  if (code != Code::kOk) return code;
  const uint64_t taps = uint64_t{op_.kernel_h} * op_.kernel_w;
  if (!depthwise && taps * ey.shape[3] > kMaxInputGradientTerms) return Code::kOpLimit;
  if (op_.shift_state >= artifact_.header().shift_states) return Code::kOpNumber;
  const Conv2dShape shape = conv_shape(op_, ex, ey);
  code = scratch(depthwise ? 0 : conv2d_s8_bwd_input_scratch_bytes(shape), {&ex, &ey});
  // Never in place: a second run reads e_y again.
  return code == Code::kOk ? overlap(ey, ex, Overlap::kForbidden) : code;
}

// A sum is wide, so it may take the place of a wide operand only.
StatusCode OpChecker::sum_overlap(const Tensor& operand, const Tensor& sum) const {
  const bool wide = operand.type == ElementType::kInt16;
  return overlap(operand, sum, wide ? Overlap::kSameStart : Overlap::kForbidden);
}

StatusCode OpChecker::affine_gradient() {
  Tensor ey, other, ex, w;
  if (!load_error(op_.in0, &ey) || (op_.in1 != kNone && !load_error(op_.in1, &other)) ||
      !load_error(op_.out, ElementType::kInt16, &ex) || !load(op_.weights, Role::kWeights, &w) ||
      !parameters_trained(op_.weights, false) || !absent({op_.in2, op_.bias, op_.shifts})) {
    return Code::kOpTensor;
  }
  if (op_.kernel_h != 1 || op_.kernel_w != 1 || op_.stride_h != 1 || op_.stride_w != 1) {
    return Code::kOpLimit;
  }
  Code code = scaled_weights(ey);
  if (code == Code::kOk) code = convolution_limits(ex, ey, w, true);
  if (code == Code::kOk) code = overlap(ey, ex, Overlap::kForbidden);
  if (code != Code::kOk || op_.in1 == kNone) return code;
  if (!same_shape(other, ex)) return Code::kOpGeometry;
  return sum_overlap(other, ex);
}

StatusCode OpChecker::weight_gradient(bool depthwise) {
  Tensor ey, x;
  if (!load_error(op_.in0, &ey) || op_.trained >= artifact_.trained_count() ||
      !absent({op_.in2, op_.out, op_.weights, op_.bias, op_.multipliers, op_.shifts})) {
    return Code::kOpTensor;
  }
  if (op_.numbers[0] < 0 || op_.numbers[0] > (depthwise ? 1 : 0)) return Code::kOpNumber;
  const TrainedRecord r = artifact_.trained(op_.trained);
  const bool bias_only = op_.numbers[0] == 1;
  const TrainedKind kind = !depthwise  ? TrainedKind::kConv2d
                           : bias_only ? TrainedKind::kAffine
                                       : TrainedKind::kDepthwise;
  if (r.kind != kind || r.rows != ey.shape[3]) return Code::kOpTensor;
  if (uint64_t{ey.shape[1]} * ey.shape[2] > kMaxPixels) return Code::kOpLimit;
  if (bias_only) {
    if (op_.in1 != kNone) return Code::kOpTensor;
    return scratch(round_up16(4 * uint64_t{r.rows}), {&ey});
  }
  if (!load_image(op_.in1, Role::kActivation, &x)) return Code::kOpTensor;
  const Code code = convolution_limits(x, ey, artifact_.tensor(r.weights), depthwise);
  if (code != Code::kOk) return code;
  const Conv2dShape shape = conv_shape(op_, x, ey);
  return scratch(depthwise ? depthwise_s8_bwd_weight_scratch_bytes(shape)
                           : conv2d_s8_bwd_weight_scratch_bytes(shape),
                 {&ey, &x});
}

StatusCode OpChecker::masked(bool bits) {
  Tensor e, keep;
  if (!load_error(op_.in0, &e) ||
      !load_image(op_.in1, bits ? Role::kMask : Role::kActivation, &keep) || op_.out != op_.in0 ||
      !absent({op_.in2, op_.weights, op_.bias, op_.multipliers, op_.shifts})) {
    return Code::kOpTensor;
  }
  if (!same_shape(e, keep)) return Code::kOpGeometry;
  if (op_.numbers[0] < 0 || op_.numbers[0] > 1) return Code::kOpNumber;
  return overlap(keep, e, Overlap::kForbidden);
}

StatusCode OpChecker::error_add() {
  Tensor a, b, out;
  if (!load_error(op_.in0, &a) || !load_error(op_.in1, &b) ||
      !load_error(op_.out, ElementType::kInt16, &out) ||
      !absent({op_.in2, op_.weights, op_.bias, op_.multipliers, op_.shifts})) {
    return Code::kOpTensor;
  }
  if (!same_shape(a, out) || !same_shape(b, out)) return Code::kOpGeometry;
  const Code code = sum_overlap(a, out);
  return code == Code::kOk ? sum_overlap(b, out) : code;
}

StatusCode OpChecker::pool_gradient(bool maximum) {
  Tensor ey, ex, x;
  if (!load_error(op_.in0, &ey) || !load_error(op_.out, ey.type, &ex) ||
      (maximum ? !load_image(op_.in1, Role::kActivation, &x) : op_.in1 != kNone) ||
      !absent({op_.in2, op_.weights, op_.bias, op_.multipliers, op_.shifts})) {
    return Code::kOpTensor;
  }
  if (ex.shape[3] != ey.shape[3] || (maximum && !same_shape(x, ex))) return Code::kOpGeometry;
  Code code = geometry(ex, ey, false);
  if (code != Code::kOk) return code;
  // Sums over all windows that hold an element, times the reciprocal of a window that is no power
  // of two.
  const uint64_t window = uint64_t{op_.kernel_h} * op_.kernel_w;
  const uint64_t windows = uint64_t{(op_.kernel_h + op_.stride_h - 1) / op_.stride_h} *
                           ((op_.kernel_w + op_.stride_w - 1) / op_.stride_w);
  const bool power_of_two = (window & (window - 1)) == 0;
  const uint64_t factor = maximum || power_of_two ? 1 : (2 * 32768 + window) / (2 * window);
  const uint64_t largest = ey.type == ElementType::kInt16 ? 32768 : 128;
  if (windows * largest * factor > 0x7fffffff) return Code::kOpLimit;
  code = overlap(ey, ex, Overlap::kForbidden);
  if (code == Code::kOk && maximum) code = overlap(x, ex, Overlap::kForbidden);
  return code;
}

StatusCode OpChecker::channel_pad_gradient() {
  Tensor ey, ex;
  if (!load_error(op_.in0, &ey) || !load_error(op_.out, ey.type, &ex) ||
      !absent({op_.in1, op_.in2, op_.weights, op_.bias, op_.multipliers, op_.shifts})) {
    return Code::kOpTensor;
  }
  if (ex.shape[1] != ey.shape[1] || ex.shape[2] != ey.shape[2]) return Code::kOpGeometry;
  if (op_.numbers[0] < 0 || int64_t{op_.numbers[0]} + ex.shape[3] > ey.shape[3]) {
    return Code::kOpNumber;
  }
  return overlap(ey, ex, Overlap::kSameStart);
}

StatusCode OpChecker::error_copy() {
  Tensor a, out;
  if (!load_error(op_.in0, &a) || !load_error(op_.out, a.type, &out) ||
      !absent({op_.in1, op_.in2, op_.weights, op_.bias, op_.multipliers, op_.shifts})) {
    return Code::kOpTensor;
  }
  if (!same_shape(a, out)) return Code::kOpGeometry;
  return overlap(a, out, Overlap::kForbidden);
}

}  // namespace tbft
