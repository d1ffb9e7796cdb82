#include "runtime/op_checker.h"

namespace tbft {

namespace {

constexpr uint32_t kMaxKernel = 15;
constexpr uint32_t kMaxStride = 4;
// Bounds 32-bit element numbers, and work that no board could finish.
constexpr uint64_t kMaxMacs = uint64_t{1} << 36;

}  // namespace

// Weights in the arena are only initialised and kept in range when a trained record owns them.
bool OpChecker::parameters_trained(uint32_t index, bool bias) const {
  if (artifact_.tensor(index).place == Place::kConst) return true;
  for (uint32_t k = 0; k < artifact_.trained_count(); ++k) {
    const TrainedRecord r = artifact_.trained(k);
    if ((bias ? r.bias : r.weights) == index) return true;
  }
  return false;
}

StatusCode OpChecker::geometry(const Tensor& x, const Tensor& y, bool pad_allowed) const {
  if (op_.kernel_h < 1 || op_.kernel_h > kMaxKernel || op_.kernel_w < 1 ||
      op_.kernel_w > kMaxKernel || op_.stride_h < 1 || op_.stride_h > kMaxStride ||
      op_.stride_w < 1 || op_.stride_w > kMaxStride) {
    return Code::kOpLimit;
  }
  if (op_.pad_top >= op_.kernel_h || op_.pad_bottom >= op_.kernel_h ||
      op_.pad_left >= op_.kernel_w || op_.pad_right >= op_.kernel_w) {
    return Code::kOpLimit;
  }
  const uint32_t pad_h = op_.pad_top + op_.pad_bottom;
  const uint32_t pad_w = op_.pad_left + op_.pad_right;
  if (!pad_allowed && (pad_h != 0 || pad_w != 0)) return Code::kOpLimit;
  const uint32_t h = x.shape[1] + pad_h;
  const uint32_t w = x.shape[2] + pad_w;
  if (h < op_.kernel_h || w < op_.kernel_w || (h - op_.kernel_h) / op_.stride_h + 1 != y.shape[1] ||
      (w - op_.kernel_w) / op_.stride_w + 1 != y.shape[2]) {
    return Code::kOpGeometry;
  }
  return Code::kOk;
}

StatusCode OpChecker::convolution_limits(const Tensor& x, const Tensor& y, const Tensor& w,
                                         bool depthwise) const {
  const Code code = geometry(x, y, true);
  if (code != Code::kOk) return code;
  const uint32_t rows = depthwise ? 1 : y.shape[3];
  if (w.shape[0] != rows || w.shape[1] != op_.kernel_h || w.shape[2] != op_.kernel_w ||
      w.shape[3] != x.shape[3] || (depthwise && y.shape[3] != x.shape[3])) {
    return Code::kOpGeometry;
  }
  const uint64_t taps = uint64_t{op_.kernel_h} * op_.kernel_w;
  const uint64_t terms = taps * (depthwise ? 1 : x.shape[3]);
  if (terms * 127 * 255 >= kMaxForwardSum) return Code::kOpLimit;
  if (y.elements() * terms > kMaxMacs) return Code::kOpLimit;
  return Code::kOk;
}

StatusCode OpChecker::activation_limits() const {
  return op_.act_min <= op_.act_max ? Code::kOk : Code::kOpNumber;
}

StatusCode OpChecker::scratch(uint64_t needed,
                              std::initializer_list<const Tensor*> operands) const {
  if (op_.scratch_bytes < needed || op_.scratch_region >= kMaxRegions) return Code::kOpScratch;
  if (op_.scratch_bytes == 0) return Code::kOk;
  const RegionSize& region = artifact_.header().regions[op_.scratch_region];
  const Range range = {op_.scratch_region, op_.scratch_offset,
                       uint64_t{op_.scratch_offset} + op_.scratch_bytes};
  if (range.begin % kStorageAlignment != 0 || range.end > region.bytes) return Code::kOpScratch;
  if (range.begin < region.persistent_bytes) return Code::kOpPersistent;
  for (const Tensor* tensor : operands) {
    if (tensor->place == Place::kArena && !disjoint(range, range_of(*tensor)))
      return Code::kOpOverlap;
  }
  return Code::kOk;
}

// How far the writing of output rows gets ahead of the reading of input rows (docs/artifact.md,
// "Overlap").
uint64_t OpChecker::row_lead(const Tensor& in, const Tensor& out) const {
  const int64_t in_row = int64_t{in.shape[2]} * in.shape[3];
  const int64_t out_row = int64_t{out.shape[2]} * out.shape[3];
  const int64_t stride = op_.opcode == Opcode::kChannelPad ? 1 : op_.stride_h;
  const int64_t pad = op_.opcode == Opcode::kChannelPad ? 0 : op_.pad_top;
  // The lead grows with the row as long as reading stays at input row 0, and is linear in it from
  // there on: one of these three rows is the largest.
  const int64_t last = int64_t{out.shape[1]} - 1;
  const int64_t waiting = pad / stride;
  int64_t lead = 0;
  for (const int64_t r : {waiting, waiting + 1, last}) {
    if (r > last) continue;
    const int64_t first = r * stride - pad > 0 ? r * stride - pad : 0;
    const int64_t ahead = (r + 1) * out_row - first * in_row;
    if (ahead > lead) lead = ahead;
  }
  return static_cast<uint64_t>(lead);
}

StatusCode OpChecker::overlap(const Tensor& in, const Tensor& out, Overlap rule) const {
  if (disjoint(range_of(in), range_of(out))) return Code::kOk;
  switch (rule) {
    case Overlap::kForbidden:
      break;
    case Overlap::kSameStart:
      if (out.offset == in.offset) return Code::kOk;
      break;
    case Overlap::kBelow:
      if (out.offset <= in.offset) return Code::kOk;
      break;
    case Overlap::kRows:
      if (out.offset + row_lead(in, out) <= in.offset) return Code::kOk;
      break;
  }
  return Code::kOpOverlap;
}

StatusCode OpChecker::check() {
  if (op_.flags > 1) return Code::kOpUnknown;
  switch (op_.opcode) {
    case Opcode::kConv2d:
      return convolution(false);
    case Opcode::kDepthwiseConv2d:
      return convolution(true);
    case Opcode::kAdd:
      return add();
    case Opcode::kAveragePool:
    case Opcode::kMaxPool:
      return pool();
    case Opcode::kChannelPad:
      return channel_pad();
    case Opcode::kMask:
      return mask();
    case Opcode::kLinearLoss:
      return linear_loss();
    case Opcode::kConv2dBwdInput:
      return input_gradient(false);
    case Opcode::kDepthwiseBwdInput:
      return input_gradient(true);
    case Opcode::kConv2dBwdWeight:
      return weight_gradient(false);
    case Opcode::kDepthwiseBwdWeight:
      return weight_gradient(true);
    case Opcode::kMaskBwd:
      return masked(true);
    case Opcode::kReluBwd:
      return masked(false);
    case Opcode::kErrorAdd:
      return error_add();
    case Opcode::kAveragePoolBwd:
      return pool_gradient(false);
    case Opcode::kMaxPoolBwd:
      return pool_gradient(true);
    case Opcode::kChannelPadBwd:
      return channel_pad_gradient();
    case Opcode::kErrorCopy:
      return error_copy();
    case Opcode::kAffineBwd:
      return affine_gradient();
  }
  return Code::kOpUnknown;
}

namespace {

bool is_forward(Opcode opcode) { return opcode >= Opcode::kConv2d && opcode <= Opcode::kMask; }

// What an op may do depends on the program it stands in.
bool fits_program(const Op& op, ProgramKind kind, bool first) {
  switch (kind) {
    case ProgramKind::kPrefix:
      return is_forward(op.opcode) && !op.training_only;
    case ProgramKind::kTail:
      return is_forward(op.opcode);
    case ProgramKind::kBackward:
      break;
  }
  // The loss comes first and once: it decides whether the rest runs. Masks may be made late, from
  // activations that are then freed, and activations that were not kept computed again.
  if (first) return op.opcode == Opcode::kLinearLoss;
  return op.opcode >= Opcode::kConv2dBwdInput || (is_forward(op.opcode) && !op.training_only);
}

// With immediate updates a node's weights and bias change as soon as its gradient is ready, so
// nothing of the same sample may read them after that: neither an input gradient, nor an activation
// that is computed again.
class UpdateOrder {
 public:
  explicit UpdateOrder(const Artifact& artifact) : artifact_(artifact) {}

  bool allows(const Op& op) {
    const bool reads = op.weights != kNone || op.bias != kNone;
    for (uint32_t k = 0; reads && k < artifact_.trained_count(); ++k) {
      if (!updated_[k]) continue;
      const TrainedRecord r = artifact_.trained(k);
      if (r.weights != kNone && r.weights == op.weights) return false;
      if (r.bias == op.bias) return false;
    }
    if (op.opcode == Opcode::kConv2dBwdWeight || op.opcode == Opcode::kDepthwiseBwdWeight) {
      updated_[op.trained] = true;
    }
    return true;
  }

 private:
  const Artifact& artifact_;
  bool updated_[kMaxTrained] = {};
};

}  // namespace

Status check_ops(const Artifact& artifact) {
  uint64_t channels_checked = 0;
  for (uint32_t i = 0; i < artifact.ops(); ++i) {
    const Op op = artifact.op(i);
    const StatusCode code = OpChecker(artifact, op, &channels_checked).check();
    if (code != StatusCode::kOk) return {code, i};
  }
  UpdateOrder order(artifact);
  for (const ProgramKind kind :
       {ProgramKind::kPrefix, ProgramKind::kTail, ProgramKind::kBackward}) {
    const Program program = artifact.program(kind);
    for (uint32_t i = program.first; i < program.first + program.count; ++i) {
      const Op op = artifact.op(i);
      if (!fits_program(op, kind, i == program.first) ||
          (artifact.header().immediate && !order.allows(op))) {
        return {StatusCode::kOpOrder, i};
      }
    }
  }
  return {};
}

}  // namespace tbft
