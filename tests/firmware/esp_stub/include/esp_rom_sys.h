// Stand-in for ESP-IDF 5.5, components/esp_rom/include/esp_rom_sys.h.
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

void esp_rom_delay_us(uint32_t us);

#ifdef __cplusplus
}
#endif
