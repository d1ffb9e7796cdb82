// The chip's 64-bit microsecond timer.
#pragma once

#include "hal/clock.h"

namespace tbft {

class EspClock final : public Clock {
 public:
  uint64_t now_us() override;
};

}  // namespace tbft
