// Stand-in for ESP-IDF 5.5, components/freertos/.../task.h.
#pragma once

#include "freertos/FreeRTOS.h"

#define tskNO_AFFINITY 0x7FFFFFFF

#ifdef __cplusplus
extern "C" {
#endif

typedef void (*TaskFunction_t)(void*);
typedef struct tskTaskControlBlock* TaskHandle_t;

BaseType_t xTaskCreatePinnedToCore(TaskFunction_t pxTaskCode, const char* pcName,
                                   uint32_t ulStackDepth, void* pvParameters,
                                   UBaseType_t uxPriority, TaskHandle_t* pxCreatedTask,
                                   BaseType_t xCoreID);
void vTaskDelay(TickType_t xTicksToDelay);
// Smallest free stack so far, in bytes (words in the original FreeRTOS); null is the caller's task.
UBaseType_t uxTaskGetStackHighWaterMark(TaskHandle_t xTask);

#ifdef __cplusplus
}
#endif
