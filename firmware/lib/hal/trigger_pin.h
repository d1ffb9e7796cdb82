#pragma once

#include <cstdint>

namespace tbft {

// Output pins that an energy probe records beside the current.
class TriggerPin {
 public:
  // Shows this number, least significant bit on the first pin; bits beyond the board's pins are
  // lost.
  virtual void set(uint8_t value) = 0;

 protected:
  ~TriggerPin() = default;
};

}  // namespace tbft
