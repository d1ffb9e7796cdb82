// Stand-in for ESP-IDF 5.5, components/freertos/.../FreeRTOS.h.
#pragma once

#include <stdint.h>

#include "sdkconfig.h"

typedef uint32_t TickType_t;
typedef int BaseType_t;
typedef unsigned int UBaseType_t;

#define pdPASS 1
#define portMAX_DELAY ((TickType_t)0xffffffffUL)
#define pdMS_TO_TICKS(xTimeInMs) \
  ((TickType_t)(((uint64_t)(xTimeInMs) * (uint64_t)CONFIG_FREERTOS_HZ) / (uint64_t)1000U))
