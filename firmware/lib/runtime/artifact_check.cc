#include "runtime/artifact_check.h"

#include <initializer_list>

#include "runtime/bytes.h"

namespace tbft {
namespace {

constexpr int32_t kMaxBias = 1 << 30;
constexpr int32_t kMaxRhoExponent = 1024;
// CONST tensors may share bytes, but not so often that looking at their values takes for ever.
constexpr uint64_t kMaxConstReads = 4;

// Element types a role may have, one bit per ElementType.
constexpr uint32_t type_bit(ElementType type) { return 1u << static_cast<uint32_t>(type); }

struct RoleRule {
  uint32_t types;
  bool in_arena;
  bool in_const;
  bool persistent;  // if in the arena: within the persistent bytes, else after them
};

constexpr uint32_t kEitherWidth = type_bit(ElementType::kInt8) | type_bit(ElementType::kInt16);

constexpr RoleRule kRules[] = {
    {type_bit(ElementType::kInt8), true, false, false},   // activation
    {kEitherWidth, true, false, false},                   // error
    {type_bit(ElementType::kInt8), true, true, true},     // weights
    {type_bit(ElementType::kInt32), true, true, true},    // bias
    {type_bit(ElementType::kInt32), false, true, false},  // multipliers
    {type_bit(ElementType::kInt32), false, true, false},  // shifts
    {type_bit(ElementType::kInt16), false, true, false},  // factors
    {type_bit(ElementType::kBits), true, false, false},   // mask
    {type_bit(ElementType::kInt16) | type_bit(ElementType::kInt32), true, false,
     true},                                               // accumulator
    {type_bit(ElementType::kInt32), false, true, false},  // rho
    {type_bit(ElementType::kInt16), true, false, true},   // row exponents
};
constexpr uint32_t kRoles = sizeof kRules / sizeof kRules[0];

uint64_t bytes_for(ElementType type, uint64_t elements) {
  switch (type) {
    case ElementType::kInt16:
      return elements * 2;
    case ElementType::kInt32:
      return elements * 4;
    case ElementType::kBits:
      return (elements + 7) / 8;
    case ElementType::kInt8:
    case ElementType::kUint8:
      break;
  }
  return elements;
}

// -128 would break the bounds of the accumulators, as would larger biases; see docs/numerics.md.
bool values_valid(const Artifact& artifact, const Tensor& tensor) {
  const uint8_t* p = artifact.constant(tensor);
  const uint64_t n = tensor.elements();
  switch (tensor.role) {
    case Role::kWeights:
      for (uint64_t i = 0; i < n; ++i) {
        if (p[i] == 0x80) return false;
      }
      return true;
    case Role::kBias:
      for (uint64_t i = 0; i < n; ++i) {
        const int32_t value = load_i32(p + 4 * i);
        if (value < -kMaxBias || value > kMaxBias) return false;
      }
      return true;
    case Role::kFactors:
      for (uint64_t i = 0; i < n; ++i) {
        if (load_i16(p + 2 * i) < 0) return false;
      }
      return true;
    case Role::kRho:
      if (n % 2 != 0) return false;
      for (uint64_t i = 0; i < n; i += 2) {
        const int32_t mantissa = load_i32(p + 4 * i);
        const int32_t exponent = load_i32(p + 4 * i + 4);
        if (mantissa != 0 && mantissa < kMaxBias) return false;
        if (exponent < -kMaxRhoExponent || exponent > kMaxRhoExponent) return false;
      }
      return true;
    default:
      return true;  // multipliers and shifts belong together: checked with their op
  }
}

// `const_read` counts the bytes of the CONST tensors so far.
Status check_tensor(const Artifact& artifact, uint32_t index, uint64_t* const_read) {
  const Tensor t = artifact.tensor(index);
  const Header& header = artifact.header();
  const uint32_t role = static_cast<uint32_t>(t.role);
  const uint32_t type = static_cast<uint32_t>(t.type);
  if (static_cast<uint32_t>(t.place) > 1 || type > 4 || role >= kRoles) {
    return {StatusCode::kTensorField, index};
  }
  const RoleRule& rule = kRules[role];
  const bool in_arena = t.place == Place::kArena;
  if ((rule.types & type_bit(t.type)) == 0) return {StatusCode::kTensorField, index};
  if (in_arena ? !rule.in_arena : !rule.in_const) return {StatusCode::kTensorField, index};
  if (t.region >= (in_arena ? kMaxRegions : 1)) return {StatusCode::kTensorField, index};
  if (t.role == Role::kActivation && (t.zero_point < -128 || t.zero_point > 127)) {
    return {StatusCode::kTensorField, index};
  }
  if (t.role == Role::kError && t.exponent_slot >= header.error_exponents) {
    return {StatusCode::kTensorField, index};
  }
  // Four dimensions below 2^16 cannot overflow 64 bits; the byte count can.
  for (const uint32_t extent : t.shape) {
    if (extent == 0) return {StatusCode::kTensorShape, index};
  }
  if (t.elements() > 0x7fffffff || bytes_for(t.type, t.elements()) != t.bytes) {
    return {StatusCode::kTensorShape, index};
  }
  if (t.offset % kStorageAlignment != 0) return {StatusCode::kTensorAlignment, index};
  const Range range = range_of(t);
  if (!in_arena) {
    if (range.end > artifact.const_bytes()) return {StatusCode::kTensorOutside, index};
    *const_read += t.bytes;
    if (*const_read > kMaxConstReads * artifact.const_bytes()) {
      return {StatusCode::kTensorOutside, index};
    }
    return values_valid(artifact, t) ? Status() : Status(StatusCode::kTensorValues, index);
  }
  const RegionSize& region = header.regions[t.region];
  const uint64_t low = rule.persistent ? 0 : region.persistent_bytes;
  const uint64_t high = rule.persistent ? region.persistent_bytes : region.bytes;
  if (range.begin < low || range.end > high) return {StatusCode::kTensorOutside, index};
  return {};
}

// Whether `index` names a tensor of this role and place with so many elements of this type.
bool names(const Artifact& artifact, uint32_t index, Role role, Place place, ElementType type,
           uint64_t elements) {
  if (index >= artifact.tensors()) return false;
  const Tensor t = artifact.tensor(index);
  return t.role == role && t.place == place && t.type == type && t.elements() == elements;
}

bool same_shape(const Tensor& a, const Tensor& b) {
  for (uint32_t i = 0; i < 4; ++i) {
    if (a.shape[i] != b.shape[i]) return false;
  }
  return true;
}

bool trained_weights_valid(const Artifact& artifact, const TrainedRecord& r) {
  if (r.kind == TrainedKind::kAffine) {
    return r.weights == kNone && r.initial_weights == kNone && r.rho_weights == kNone &&
           r.weight_accumulator == kNone;
  }
  const uint64_t elements = uint64_t{r.rows} * r.row_length;
  if (!names(artifact, r.weights, Role::kWeights, Place::kArena, ElementType::kInt8, elements) ||
      !names(artifact, r.initial_weights, Role::kWeights, Place::kConst, ElementType::kInt8,
             elements) ||
      !names(artifact, r.rho_weights, Role::kRho, Place::kConst, ElementType::kInt32,
             uint64_t{r.rows} * 2)) {
    return false;
  }
  const Tensor w = artifact.tensor(r.weights);
  if (!same_shape(w, artifact.tensor(r.initial_weights))) return false;
  // Rows are output channels; a depthwise tensor is (1, kh, kw, C).
  const bool depthwise = r.kind == TrainedKind::kDepthwise;
  if (depthwise && w.shape[0] != 1) return false;
  if (w.shape[depthwise ? 3 : 0] != r.rows) return false;
  if (artifact.header().immediate) return r.weight_accumulator == kNone;
  return names(artifact, r.weight_accumulator, Role::kAccumulator, Place::kArena,
               ElementType::kInt16, elements);
}

bool trained_bias_valid(const Artifact& artifact, const TrainedRecord& r) {
  if (!names(artifact, r.bias, Role::kBias, Place::kArena, ElementType::kInt32, r.rows) ||
      !names(artifact, r.initial_bias, Role::kBias, Place::kConst, ElementType::kInt32, r.rows) ||
      !names(artifact, r.rho_bias, Role::kRho, Place::kConst, ElementType::kInt32,
             uint64_t{r.rows} * 2)) {
    return false;
  }
  if (artifact.header().immediate) return r.bias_accumulator == kNone && r.row_exponents == kNone;
  return names(artifact, r.bias_accumulator, Role::kAccumulator, Place::kArena, ElementType::kInt32,
               r.rows) &&
         names(artifact, r.row_exponents, Role::kRowExponents, Place::kArena, ElementType::kInt16,
               uint64_t{r.rows} * 2);
}

// Arena tensors of a trained record that are still unnamed come back as kNone.
void persistent_tensors(const TrainedRecord& r, uint32_t out[5]) {
  out[0] = r.weights;
  out[1] = r.bias;
  out[2] = r.weight_accumulator;
  out[3] = r.bias_accumulator;
  out[4] = r.row_exponents;
}

// Quadratic, which kMaxTrained bounds: weights that shared a byte with an accumulator could leave
// their range.
Status check_persistent_overlap(const Artifact& artifact) {
  for (uint32_t a = 0; a < artifact.trained_count() * 5; ++a) {
    uint32_t mine[5];
    persistent_tensors(artifact.trained(a / 5), mine);
    if (mine[a % 5] == kNone) continue;
    const Range range = range_of(artifact.tensor(mine[a % 5]));
    for (uint32_t k = a / 5; k < artifact.trained_count(); ++k) {
      uint32_t others[5];
      persistent_tensors(artifact.trained(k), others);
      for (uint32_t i = 0; i < 5; ++i) {
        if (k * 5 + i <= a || others[i] == kNone) continue;
        if (!disjoint(range, range_of(artifact.tensor(others[i]))))
          return {StatusCode::kBadTrained, k};
      }
    }
  }
  return {};
}

}  // namespace

Status check_tensors(const Artifact& artifact) {
  uint64_t const_read = 0;
  for (uint32_t i = 0; i < artifact.tensors(); ++i) {
    const Status status = check_tensor(artifact, i, &const_read);
    if (!status.ok()) return status;
  }
  const Header& header = artifact.header();
  for (const uint32_t index : {header.input, header.boundary, header.output}) {
    if (index >= artifact.tensors()) return {StatusCode::kBadHeader, index};
    const Tensor t = artifact.tensor(index);
    if (t.role != Role::kActivation || t.shape[0] != 1) return {StatusCode::kBadHeader, index};
  }
  if (artifact.tensor(header.output).elements() != header.classes) {
    return {StatusCode::kBadHeader, header.output};
  }
  return {};
}

Status check_trained(const Artifact& artifact) {
  for (uint32_t k = 0; k < artifact.trained_count(); ++k) {
    const TrainedRecord r = artifact.trained(k);
    const bool valid = static_cast<uint32_t>(r.kind) <= 2 && r.block < artifact.blocks() &&
                       r.rows != 0 && r.rows < 65536 && trained_weights_valid(artifact, r) &&
                       trained_bias_valid(artifact, r);
    if (!valid) return {StatusCode::kBadTrained, k};
  }
  return check_persistent_overlap(artifact);
}

}  // namespace tbft
