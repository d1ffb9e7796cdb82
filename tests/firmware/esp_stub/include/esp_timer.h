// Stand-in for ESP-IDF 5.5, components/esp_timer/include/esp_timer.h.
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Microseconds since the start of the program.
int64_t esp_timer_get_time(void);

#ifdef __cplusplus
}
#endif
