#include "wire/event_recorder.h"

namespace tbft {
namespace wire {
namespace {

uint32_t saturated(uint64_t value) {
  return value > UINT32_MAX ? UINT32_MAX : static_cast<uint32_t>(value);
}

}  // namespace

void EventRecorder::restart(bool enabled) {
  enabled_ = enabled && !memory_.empty();
  count_ = 0;
}

void EventRecorder::set_context(uint16_t sequence, uint8_t index) {
  sequence_ = sequence;
  index_ = index;
}

void EventRecorder::enter(Phase phase) {
  if (pin_ != nullptr) {
    pin_->set(static_cast<uint8_t>(shown(phase)));
  }
  entered_us_ = clock_.now_us();
}

void EventRecorder::leave(Phase phase, const Work& work) {
  const uint64_t now = clock_.now_us();
  if (pin_ != nullptr) {
    pin_->set(static_cast<uint8_t>(Phase::kIdle));
  }
  if (PhaseRecord* event = next(shown(phase), entered_us_, now)) {
    event->macs = work.macs;
    event->weight_macs = work.weight_macs;
    event->sums = saturated(work.sums);
    event->masks = saturated(work.masks);
    event->elements = saturated(work.elements);
    event->updates = saturated(work.updates);
    event->flash_bytes = flash_bytes_;
  }
  total_flash_bytes_ += flash_bytes_;
  flash_bytes_ = 0;
  if (hook_ != nullptr) {
    hook_->after_phase();
  }
}

void EventRecorder::record(Phase phase, uint64_t start_us, uint64_t stop_us, uint32_t wire_bytes) {
  if (PhaseRecord* event = next(phase, start_us, stop_us)) {
    event->wire_bytes = wire_bytes;
  }
}

uint32_t EventRecorder::oldest() const {
  const auto kept = static_cast<uint32_t>(memory_.size());
  return count_ > kept ? count_ - kept : 0;
}

PhaseRecord* EventRecorder::next(Phase phase, uint64_t start_us, uint64_t stop_us) {
  if (!enabled_) {
    return nullptr;
  }
  PhaseRecord* event = &memory_[count_ % memory_.size()];
  *event = PhaseRecord();
  event->phase = static_cast<uint8_t>(phase);
  event->index = index_;
  event->sequence = sequence_;
  event->start_us = static_cast<uint32_t>(start_us);
  event->stop_us = static_cast<uint32_t>(stop_us);
  ++count_;
  return event;
}

Phase EventRecorder::shown(Phase phase) const {
  return evaluation_ && phase == Phase::kFrozenForward ? Phase::kInfer : phase;
}

}  // namespace wire
}  // namespace tbft
