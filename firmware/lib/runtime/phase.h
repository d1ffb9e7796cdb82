// What the board is doing, for the energy trace: the engine reports when it enters and leaves a
// phase, and how much work it did there.
#pragma once

#include <cstdint>

namespace tbft {

// The numbers go over the wire and onto the trigger pins; they never change meaning.
enum class Phase : uint8_t {
  kIdle = 0,
  kLoad = 1,
  kFrozenForward = 2,  // PREFIX of a training sample
  kTrainForward = 3,   // TAIL of a training sample, its stored activations included
  kBackward = 4,       // loss and BACKWARD; in immediate mode the weight updates too
  kUpdate = 5,         // weight update at the end of a batch
  kCommit = 6,         // weights to flash
  kSleep = 7,
  kInfer = 8,  // forward pass without training
};
constexpr uint8_t kPhaseCount = 9;

const char* to_string(Phase phase);

// Work done, counted op by op. A convolution counts OH*OW*O*kh*kw*I multiply-accumulates, its
// padding included, in all three of its forms; an input gradient that had to be computed again
// counts again. `weight_macs` are those of `macs` that made gradients of weights, `sums` the
// gradients added to accumulators, `masks` the activations whose mask bit was kept. `elements`
// counts the outputs of every other op, `updates` the weights and biases rewritten.
struct Work {
  uint64_t macs = 0;
  uint64_t weight_macs = 0;
  uint64_t sums = 0;
  uint64_t masks = 0;
  uint64_t elements = 0;
  uint64_t updates = 0;

  void add(const Work& other) {
    macs += other.macs;
    weight_macs += other.weight_macs;
    sums += other.sums;
    masks += other.masks;
    elements += other.elements;
    updates += other.updates;
  }
};

// Called from inside the engine, so an implementation has to be quick (set a pin, read a clock, add
// to a counter). Phases do not nest: enter(a), leave(a), enter(b), leave(b).
class PhaseListener {
 public:
  virtual void enter(Phase phase) = 0;
  virtual void leave(Phase phase, const Work& work) = 0;

 protected:
  ~PhaseListener() = default;
};

// Enters a phase, and leaves it with the work noted in `work`; the listener may be null.
class PhaseScope {
 public:
  PhaseScope(PhaseListener* listener, Phase phase) : listener_(listener), phase_(phase) {
    if (listener_ != nullptr) listener_->enter(phase_);
  }
  ~PhaseScope() {
    if (listener_ != nullptr) listener_->leave(phase_, work);
  }
  PhaseScope(const PhaseScope&) = delete;
  PhaseScope& operator=(const PhaseScope&) = delete;

  Work work;

 private:
  PhaseListener* listener_;
  Phase phase_;
};

}  // namespace tbft
