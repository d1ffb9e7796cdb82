// The computer's monotonic clock.
#pragma once

#include "hal/clock.h"

namespace tbft {

class NativeClock final : public Clock {
 public:
  uint64_t now_us() override;
};

}  // namespace tbft
