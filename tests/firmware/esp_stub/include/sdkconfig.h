// Stand-in for the file that ESP-IDF generates from firmware/platformio/esp/sdkconfig.defaults. A
// test compares the two.
#pragma once

#define CONFIG_UART_ISR_IN_IRAM 1
#define CONFIG_FREERTOS_HZ 1000
#define CONFIG_ESP_MAIN_TASK_STACK_SIZE 16384
#define CONFIG_ESP_DEFAULT_CPU_FREQ_MHZ 240
