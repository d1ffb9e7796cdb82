// Gradients into accumulators, accumulators into weights (docs/numerics.md, sections 4 and 5).
#pragma once

#include <cstdint>

#include "kernels/conv2d.h"
#include "kernels/update.h"
#include "runtime/artifact.h"
#include "runtime/memory.h"
#include "runtime/phase.h"
#include "runtime/span.h"
#include "runtime/status.h"

namespace tbft {

// value = mantissa * 2^(exponent - 31), mantissa in [2^30, 2^31), or 0 as (0, 0).
struct LearningRate {
  uint32_t mantissa = 0;
  int32_t exponent = 0;
};

// One trained tensor as it lies in the arena. An affine's weights are frozen: 0 rows, 0 bytes.
struct TrainedTensor {
  uint32_t block = 0;
  uint32_t kind = 0;  // 0 conv2d, 1 depthwise, 2 affine
  bool is_bias = false;
  uint32_t rows = 0;
  uint32_t row_length = 0;  // 1 for a bias
  Span<uint8_t> bytes;
};

// Accumulators of one trained tensor: int16 [rows, row length] for weights, int32 [rows] for a
// bias; per row the exponent, kEmptyExponent = nothing yet. A row is one output channel; a
// depthwise tensor's rows are contiguous here, [c, ky, kx]. All null in immediate mode.
struct AccumulatorView {
  const int16_t* weights = nullptr;
  const int32_t* bias = nullptr;
  const int16_t* exponents = nullptr;
  uint32_t rows = 0;
  uint32_t row_length = 0;
};

// Sees every row of every sample's gradient before it is accumulated or applied.
class GradientObserver {
 public:
  // `tensor` numbered as in Engine::trained_tensor; `count` values, 1 for a bias.
  virtual void on_row(uint32_t tensor, uint32_t row, const int32_t* gradient, uint32_t count,
                      int32_t exponent) = 0;

 protected:
  ~GradientObserver() = default;
};

class Trainer {
 public:
  // A trained node with its pointers looked up: made once per op, used for each of its rows.
  struct Node {
    uint32_t number = 0;
    uint32_t rows = 0;
    uint32_t row_length = 0;  // 0: bias only
    bool depthwise = false;
    int8_t* weights = nullptr;
    int32_t* bias = nullptr;
    const NormalizedPair* rho_weights = nullptr;
    const NormalizedPair* rho_bias = nullptr;
    int16_t* weight_accumulator = nullptr;
    int32_t* bias_accumulator = nullptr;
    int16_t* weight_exponents = nullptr;
    int16_t* bias_exponents = nullptr;
    SgdStep weight_step = {};
    SgdStep bias_step = {};
  };

  void bind(const Artifact* artifact, const RegionBases& bases);
  void set_observer(GradientObserver* observer) { observer_ = observer; }
  void set_learning_rate(LearningRate rate);
  void set_seed(uint32_t seed) { seed_ = seed; }
  void set_step(uint32_t step) { step_ = step; }
  uint32_t step() const { return step_; }

  // Copies the initial weights into the arena.
  void reset_weights();
  void clear_accumulators();

  Node node(uint32_t k) const;
  // Takes one row's gradient: the weights' (node.row_length values; unless bias only) and the
  // bias's. Accumulates, or in immediate mode updates the row at once; adds to sums or updates.
  void take_row(const Node& node, uint32_t row, const int32_t* weights, int32_t bias,
                int32_t exponent, Work* work);
  // Applies the accumulators, which keep what is less than half a step of a weight; counts a step.
  Work update();
  void finish_immediate_sample() { ++step_; }

  TrainedTensor tensor(uint32_t number) const;
  AccumulatorView accumulator(uint32_t number) const;

 private:
  template <typename T>
  T* in_arena(uint32_t tensor) const;
  template <typename T>
  const T* in_const(uint32_t tensor) const;
  uint32_t update_row(const Node& node, uint32_t row);

  const Artifact* artifact_ = nullptr;
  RegionBases bases_;
  GradientObserver* observer_ = nullptr;
  NormalizedPair rate_ = {0, 0};
  uint32_t seed_ = 0;
  uint32_t step_ = 0;
};

}  // namespace tbft
