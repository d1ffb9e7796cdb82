// Runs the programs of an artifact: finds each op's operands, calls its kernel, keeps error
// exponents and shift states.
#pragma once

#include <cstdint>

#include "kernels/error_view.h"
#include "kernels/softmax_xent.h"
#include "runtime/artifact.h"
#include "runtime/memory.h"
#include "runtime/phase.h"
#include "runtime/span.h"
#include "runtime/trainer.h"

namespace tbft {

class Executor {
 public:
  // The artifact must outlive the executor's use. Forgets exponents and states.
  void bind(const Artifact* artifact, const RegionBases& bases);
  void reset_states();
  Span<uint8_t> shift_states() {
    return {states_, artifact_ == nullptr ? 0 : artifact_->header().shift_states};
  }

  // PREFIX or TAIL; ops that only training needs run when `training`.
  Work forward(ProgramKind program, bool training);
  // BACKWARD, the loss first, activations that were not kept in between; gradients go to the
  // trainer. Stops after a loss without error.
  Work backward(uint16_t label, Trainer* trainer, LossResult* loss);

  int8_t* activation(uint32_t tensor) { return s8(artifact_->tensor(tensor)); }

 private:
  // An error as an op reads it: a wide one narrowed, which changes its exponent.
  struct ReadError {
    ErrorView view;
    int32_t exponent;
    uint32_t largest;  // magnitude of a wide one, before it was narrowed; else 0
  };

  static bool is_wide(const Tensor& error) { return error.type == ElementType::kInt16; }
  uint8_t* bytes(const Tensor& tensor) const { return bases_.of(tensor); }
  int8_t* s8(const Tensor& tensor) const { return reinterpret_cast<int8_t*>(bytes(tensor)); }
  int16_t* s16(const Tensor& tensor) const { return reinterpret_cast<int16_t*>(bytes(tensor)); }
  template <typename T>
  const T* data(const Tensor& tensor) const {
    const bool constant = tensor.place == Place::kConst;
    return reinterpret_cast<const T*>(constant ? artifact_->constant(tensor) : bytes(tensor));
  }
  void* scratch(const Op& op) const { return bases_.at[op.scratch_region] + op.scratch_offset; }
  void set_exponent(const Tensor& error, int64_t exponent);
  int32_t exponent(const Tensor& error) const { return exponents_[error.exponent_slot]; }
  ErrorView view(const Tensor& error) const;  // all bits
  ReadError read(const Tensor& error, int32_t bits) const;

  void run_forward(const Op& op, Work* work);
  void convolution(const Op& op, Work* work);
  void add(const Op& op);
  void loss(const Op& op, uint16_t label, LossResult* result, Work* work);

  void run_backward(const Op& op, Trainer* trainer, Work* work);
  void activation_gradient(const Op& op);
  void move_error(const Op& op);
  void pool_gradient(const Op& op);
  void input_gradient(const Op& op, Work* work);
  void affine_gradient(const Op& op, Work* work);
  void conv2d_weight_gradient(const Op& op, Trainer* trainer, Work* work);
  void depthwise_weight_gradient(const Op& op, Trainer* trainer, Work* work);

  const Artifact* artifact_ = nullptr;
  RegionBases bases_;
  int16_t exponents_[kMaxErrorExponents] = {};
  uint8_t states_[kMaxShiftStates] = {};
};

}  // namespace tbft
