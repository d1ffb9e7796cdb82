// Stand-in for ESP-IDF 5.5, components/esp_hw_support/include/esp_sleep.h.
#pragma once

#include <stdint.h>

#include "esp_err.h"

#ifdef __cplusplus
extern "C" {
#endif

esp_err_t esp_sleep_enable_timer_wakeup(uint64_t time_in_us);
// Returns only when the chip did not go to sleep.
esp_err_t esp_deep_sleep_try_to_start(void);

#ifdef __cplusplus
}
#endif
