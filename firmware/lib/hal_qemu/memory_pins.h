// Trigger pins of an emulated board: a word of memory, which a debugger or a QEMU plugin can watch.
#pragma once

#include "hal/trigger_pin.h"

// The phase in progress, as energy probes of a true board see it on its pins.
extern "C" volatile uint32_t tbft_trigger_pins;

namespace tbft {

class MemoryPins final : public TriggerPin {
 public:
  void set(uint8_t value) override { tbft_trigger_pins = value; }
};

}  // namespace tbft
