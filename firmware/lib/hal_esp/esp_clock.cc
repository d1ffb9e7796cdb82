#include "hal_esp/esp_clock.h"

#include <esp_timer.h>

namespace tbft {

// esp_timer counts from the start of the program, 52 bits or more: it does not wrap.
uint64_t EspClock::now_us() { return static_cast<uint64_t>(esp_timer_get_time()); }

}  // namespace tbft
