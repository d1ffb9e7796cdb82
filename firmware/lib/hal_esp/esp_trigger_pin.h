// Up to four GPIO pins that show the phase to an energy probe.
#pragma once

#include <cstddef>

#include "hal/trigger_pin.h"

namespace tbft {

class EspTriggerPin final : public TriggerPin {
 public:
  static constexpr size_t kMaxPins = 4;

  // GPIO numbers, least significant bit first; at most kMaxPins. False when one of them cannot be
  // an output.
  bool open(const int* pins, size_t count);

  void set(uint8_t value) override;

 private:
  int pins_[kMaxPins] = {};
  size_t count_ = 0;
};

}  // namespace tbft
