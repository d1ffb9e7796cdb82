// Deep sleep with the RTC timer as alarm clock. Waking is a reset: until() does not return.
#pragma once

#include "hal/sleep.h"

namespace tbft {

class EspSleep final : public Sleep {
 public:
  // The RTC's clock: goes on in deep sleep and through resets, from 0 when the power came.
  uint64_t now_us() override;
  bool until(uint64_t wake_us) override;
};

}  // namespace tbft
