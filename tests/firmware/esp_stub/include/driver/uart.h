// Stand-in for ESP-IDF 5.5, components/esp_driver_uart/include/driver/uart.h (and
// hal/uart_types.h). uart_set_pin has five arguments up to 5.5, and may have five afterwards.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "esp_err.h"
#include "freertos/FreeRTOS.h"

#define UART_PIN_NO_CHANGE (-1)

#ifdef __cplusplus
extern "C" {
#endif

typedef int uart_port_t;  // an enumeration of the chip's UARTs there
typedef struct QueueDefinition* QueueHandle_t;

typedef enum { UART_DATA_8_BITS = 0x3 } uart_word_length_t;
typedef enum { UART_PARITY_DISABLE = 0x0 } uart_parity_t;
typedef enum { UART_STOP_BITS_1 = 0x1 } uart_stop_bits_t;
typedef enum {
  UART_HW_FLOWCTRL_DISABLE = 0x0,
  UART_HW_FLOWCTRL_CTS_RTS = 0x3,
} uart_hw_flowcontrol_t;
typedef enum { UART_SCLK_DEFAULT = 0 } uart_sclk_t;

typedef struct {
  int baud_rate;
  uart_word_length_t data_bits;
  uart_parity_t parity;
  uart_stop_bits_t stop_bits;
  uart_hw_flowcontrol_t flow_ctrl;
  uint8_t rx_flow_ctrl_thresh;
  uart_sclk_t source_clk;
} uart_config_t;

esp_err_t uart_driver_install(uart_port_t uart_num, int rx_buffer_size, int tx_buffer_size,
                              int queue_size, QueueHandle_t* uart_queue, int intr_alloc_flags);
esp_err_t uart_param_config(uart_port_t uart_num, const uart_config_t* uart_config);
esp_err_t uart_set_pin(uart_port_t uart_num, int tx_io_num, int rx_io_num, int rts_io_num,
                       int cts_io_num);
esp_err_t uart_set_rx_full_threshold(uart_port_t uart_num, int threshold);
// Waits until `length` bytes are there or the time is over; returns how many were, -1 on error.
int uart_read_bytes(uart_port_t uart_num, void* buf, uint32_t length, TickType_t ticks_to_wait);
esp_err_t uart_get_buffered_data_len(uart_port_t uart_num, size_t* size);
// Waits until all bytes are in the send ring; returns how many, -1 on error.
int uart_write_bytes(uart_port_t uart_num, const void* src, size_t size);
esp_err_t uart_wait_tx_done(uart_port_t uart_num, TickType_t ticks_to_wait);

#ifdef __cplusplus
}
#endif
