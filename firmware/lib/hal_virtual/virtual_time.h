// Time that sleeping makes pass at once, so that an emulated board lives through weeks in seconds.
#pragma once

#include "hal/clock.h"
#include "hal/sleep.h"

namespace tbft {

class VirtualTime final : public Clock, public Sleep {
 public:
  // `real` is the clock that goes on while the board is awake; time starts at 1 s.
  explicit VirtualTime(Clock& real) : real_(real), started_us_(real.now_us()) {}

  uint64_t now_us() override { return kStartUs + real_.now_us() - started_us_ + slept_us_; }
  bool until(uint64_t wake_us) override {
    const uint64_t now = now_us();
    if (now < wake_us) slept_us_ += wake_us - now;
    return true;
  }

 private:
  // Not 0, which elsewhere means "never".
  static constexpr uint64_t kStartUs = 1'000'000;

  Clock& real_;
  uint64_t started_us_;
  uint64_t slept_us_ = 0;
};

}  // namespace tbft
