#include "kernels/conv2d.h"
#include "kernels/depthwise.h"
#include "runtime/bytes.h"
#include "runtime/op_checker.h"
#include "runtime/op_shapes.h"

namespace tbft {

StatusCode OpChecker::requantization(uint32_t channels) {
  Tensor m, s;
  if (!load(op_.multipliers, Role::kMultipliers, &m) || !load(op_.shifts, Role::kShifts, &s) ||
      m.elements() != channels || s.elements() != channels) {
    return Code::kOpTensor;
  }
  // A node's pair is looked at once for its op and once where that is done again; a file that names
  // the same one in each of thousands of ops must not keep the loader busy.
  *channels_checked_ += channels;
  if (*channels_checked_ > artifact_.const_bytes()) return Code::kOpLimit;
  const uint8_t* multiplier = artifact_.constant(m);
  const uint8_t* shift = artifact_.constant(s);
  for (uint32_t i = 0; i < channels; ++i) {
    if (!valid_multiplier(load_i32(multiplier + 4 * i), load_i32(shift + 4 * i)))
      return Code::kOpNumber;
  }
  return activation_limits();
}

StatusCode OpChecker::convolution(bool depthwise) {
  Tensor x, y, w, b;
  if (!load_image(op_.in0, Role::kActivation, &x) || !load_image(op_.out, Role::kActivation, &y) ||
      !load(op_.weights, Role::kWeights, &w) || !load(op_.bias, Role::kBias, &b) ||
      !parameters_trained(op_.weights, false) || !parameters_trained(op_.bias, true) ||
      !absent({op_.in1, op_.in2}) || b.elements() != y.shape[3]) {
    return Code::kOpTensor;
  }
  Code code = convolution_limits(x, y, w, depthwise);
  if (code == Code::kOk) code = requantization(y.shape[3]);
  const Conv2dShape shape = conv_shape(op_, x, y);
  if (code == Code::kOk) {
    code = scratch(depthwise ? 0 : conv2d_s8_fwd_scratch_bytes(shape), {&x, &y});
  }
  // A 1x1 depthwise kernel works element by element.
  const bool element_wise =
      depthwise && op_.kernel_h == 1 && op_.kernel_w == 1 && op_.stride_h == 1 && op_.stride_w == 1;
  if (code == Code::kOk) code = overlap(x, y, element_wise ? Overlap::kBelow : Overlap::kRows);
  return code;
}

StatusCode OpChecker::add() {
  Tensor a, b, y, m;
  if (!load_image(op_.in0, Role::kActivation, &a) || !load_image(op_.in1, Role::kActivation, &b) ||
      !load_image(op_.out, Role::kActivation, &y) ||
      !load(op_.multipliers, Role::kMultipliers, &m) || m.elements() != 6 ||
      !absent({op_.in2, op_.weights, op_.bias, op_.shifts})) {
    return Code::kOpTensor;
  }
  if (!same_shape(a, y) || !same_shape(b, y)) return Code::kOpGeometry;
  const uint8_t* p = artifact_.constant(m);
  for (uint32_t i = 0; i < 3; ++i) {
    const int32_t shift = load_i32(p + 8 * i + 4);
    // The inputs are shifted left by 20 already; only the sum has room.
    if (!valid_multiplier(load_i32(p + 8 * i), shift) || (i < 2 && shift > 0))
      return Code::kOpNumber;
  }
  Code code = activation_limits();
  if (code == Code::kOk) code = overlap(a, y, Overlap::kBelow);
  if (code == Code::kOk) code = overlap(b, y, Overlap::kBelow);
  return code;
}

StatusCode OpChecker::pool() {
  Tensor x, y;
  if (!load_image(op_.in0, Role::kActivation, &x) || !load_image(op_.out, Role::kActivation, &y) ||
      !absent({op_.in1, op_.in2, op_.weights, op_.bias, op_.multipliers, op_.shifts})) {
    return Code::kOpTensor;
  }
  if (x.shape[3] != y.shape[3]) return Code::kOpGeometry;
  const Code code = geometry(x, y, false);
  return code == Code::kOk ? overlap(x, y, Overlap::kRows) : code;
}

StatusCode OpChecker::channel_pad() {
  Tensor x, y;
  if (!load_image(op_.in0, Role::kActivation, &x) || !load_image(op_.out, Role::kActivation, &y) ||
      !absent({op_.in1, op_.in2, op_.weights, op_.bias, op_.multipliers, op_.shifts})) {
    return Code::kOpTensor;
  }
  if (x.shape[1] != y.shape[1] || x.shape[2] != y.shape[2]) return Code::kOpGeometry;
  if (op_.numbers[0] < 0 || int64_t{op_.numbers[0]} + x.shape[3] > y.shape[3])
    return Code::kOpNumber;
  return overlap(x, y, Overlap::kRows);
}

StatusCode OpChecker::mask() {
  Tensor x, bits;
  if (!load_image(op_.in0, Role::kActivation, &x) || !load_image(op_.out, Role::kMask, &bits) ||
      !absent({op_.in1, op_.in2, op_.weights, op_.bias, op_.multipliers, op_.shifts})) {
    return Code::kOpTensor;
  }
  if (!same_shape(x, bits)) return Code::kOpGeometry;
  if (op_.numbers[0] < 0 || op_.numbers[0] > 1) return Code::kOpNumber;
  return overlap(x, bits, Overlap::kBelow);
}

}  // namespace tbft
