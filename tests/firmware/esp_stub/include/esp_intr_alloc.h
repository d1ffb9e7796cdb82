// Stand-in for ESP-IDF 5.5, components/esp_hw_support/include/esp_intr_alloc.h.
#pragma once

#define ESP_INTR_FLAG_IRAM (1 << 10)
