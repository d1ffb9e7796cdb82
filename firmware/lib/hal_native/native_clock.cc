#include "hal_native/native_clock.h"

#include <ctime>

namespace tbft {

uint64_t NativeClock::now_us() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000U + static_cast<uint64_t>(now.tv_nsec) / 1000U;
}

}  // namespace tbft
