// Listens to the engine's phases: shows them on the trigger pins and, when asked to, keeps the last
// ones with their work.
#pragma once

#include <cstdint>

#include "hal/clock.h"
#include "hal/trigger_pin.h"
#include "runtime/phase.h"
#include "runtime/span.h"
#include "wire/messages.h"

namespace tbft {
namespace wire {

class EventRecorder final : public PhaseListener {
 public:
  // Called after every phase, recorded or not.
  class Hook {
   public:
    virtual void after_phase() = 0;

   protected:
    ~Hook() = default;
  };

  // `memory` holds the last memory.size() events; it may be empty. `pin` may be null.
  EventRecorder(Clock& clock, TriggerPin* pin, Span<PhaseRecord> memory)
      : clock_(clock), pin_(pin), memory_(memory) {}

  void set_hook(Hook* hook) { hook_ = hook; }
  // Forgets all events and counts from 0.
  void restart(bool enabled);
  bool enabled() const { return enabled_; }

  // What the next events belong to: the request's sequence number, and the sample within it (255
  // none).
  void set_context(uint16_t sequence, uint8_t index);
  // While true, frozen_forward is recorded as infer: the sample is not for training.
  void set_evaluation(bool evaluation) { evaluation_ = evaluation; }

  void enter(Phase phase) override;
  void leave(Phase phase, const Work& work) override;
  // A phase outside the engine, whose times are known.
  void record(Phase phase, uint64_t start_us, uint64_t stop_us, uint32_t wire_bytes);

  // Bytes programmed into flash; the phase that ends next takes them.
  void add_flash_bytes(uint32_t bytes) { flash_bytes_ += bytes; }
  // All of them since the start.
  uint32_t total_flash_bytes() const { return total_flash_bytes_ + flash_bytes_; }

  uint32_t capacity() const { return static_cast<uint32_t>(memory_.size()); }
  // Number of events so far, and of the oldest one kept.
  uint32_t count() const { return count_; }
  uint32_t oldest() const;
  // oldest() <= number < count()
  const PhaseRecord& event(uint32_t number) const { return memory_[number % memory_.size()]; }

 private:
  PhaseRecord* next(Phase phase, uint64_t start_us, uint64_t stop_us);
  Phase shown(Phase phase) const;

  Clock& clock_;
  TriggerPin* pin_;
  Span<PhaseRecord> memory_;
  Hook* hook_ = nullptr;
  uint64_t entered_us_ = 0;
  uint32_t count_ = 0;
  uint32_t flash_bytes_ = 0;
  uint32_t total_flash_bytes_ = 0;
  uint16_t sequence_ = 0;
  uint8_t index_ = 255;
  bool enabled_ = false;
  bool evaluation_ = false;
};

}  // namespace wire
}  // namespace tbft
