// One op's checks when an artifact is loaded; after them the executor runs without looking again.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "runtime/artifact.h"
#include "runtime/artifact_check.h"

namespace tbft {

// Sums of a forward pass stay below this, so that a bias of up to 2^30 fits on top.
constexpr uint64_t kMaxForwardSum = (uint64_t{1} << 31) - (uint64_t{1} << 30);

// How an output may lie over an input.
enum class Overlap { kForbidden, kSameStart, kBelow, kRows };

class OpChecker {
 public:
  // `channels_checked` counts the multipliers looked at, over all ops of an artifact.
  OpChecker(const Artifact& artifact, const Op& op, uint64_t* channels_checked)
      : artifact_(artifact), op_(op), channels_checked_(channels_checked) {}

  StatusCode check();

 private:
  using Code = StatusCode;

  bool load(uint32_t index, Role role, Tensor* out) const {
    if (index >= artifact_.tensors()) return false;
    *out = artifact_.tensor(index);
    return out->role == role;
  }
  // HWC tensors hold one sample.
  bool load_image(uint32_t index, Role role, Tensor* out) const {
    return load(index, role, out) && out->shape[0] == 1;
  }
  // Errors are narrow (int8) or wide (int16).
  bool load_error(uint32_t index, Tensor* out) const {
    return load_image(index, Role::kError, out);
  }
  bool load_error(uint32_t index, ElementType type, Tensor* out) const {
    return load_error(index, out) && out->type == type;
  }
  // Operands the opcode does not have must be absent, so that a plan means one thing only.
  bool absent(std::initializer_list<uint32_t> operands) const {
    for (const uint32_t operand : operands) {
      if (operand != kNone) return false;
    }
    return true;
  }
  static bool same_shape(const Tensor& a, const Tensor& b) {
    return a.shape[1] == b.shape[1] && a.shape[2] == b.shape[2] && a.shape[3] == b.shape[3];
  }

  Code convolution(bool depthwise);
  Code add();
  Code pool();
  Code channel_pad();
  Code mask();
  Code linear_loss();
  Code input_gradient(bool depthwise);
  Code affine_gradient();
  Code weight_gradient(bool depthwise);
  Code masked(bool bits);
  Code error_add();
  Code pool_gradient(bool maximum);
  Code channel_pad_gradient();
  Code error_copy();

  bool parameters_trained(uint32_t index, bool bias) const;
  Code geometry(const Tensor& x, const Tensor& y, bool pad_allowed) const;
  Code convolution_limits(const Tensor& x, const Tensor& y, const Tensor& w, bool depthwise) const;
  Code requantization(uint32_t channels);
  Code activation_limits() const;
  Code scratch(uint64_t needed, std::initializer_list<const Tensor*> operands) const;
  Code overlap(const Tensor& in, const Tensor& out, Overlap rule) const;
  Code sum_overlap(const Tensor& operand, const Tensor& sum) const;
  Code scaled_weights(const Tensor& ey) const;
  uint64_t row_lead(const Tensor& in, const Tensor& out) const;

  const Artifact& artifact_;
  const Op& op_;
  uint64_t* channels_checked_;
};

}  // namespace tbft
