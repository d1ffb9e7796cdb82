#include "hal_esp/esp_uart_stream.h"

#include <driver/uart.h>
#include <esp_intr_alloc.h>
#include <sdkconfig.h>

#include "hal_esp/esp_serial.h"

#if !CONFIG_UART_ISR_IN_IRAM
#error "CONFIG_UART_ISR_IN_IRAM must be set: without it bytes are lost while the flash is erased"
#endif

namespace tbft {

bool EspUartStream::open(const Config& config) {
  port_ = config.port;
  const auto port = static_cast<uart_port_t>(port_);
  const bool flow_control = config.rts_pin != kNoPin && config.cts_pin != kNoPin;
  // Fields of later releases start at 0, those that are here are all set.
  // NOLINTNEXTLINE(bugprone-invalid-enum-default-initialization)
  uart_config_t settings = {};
  settings.baud_rate = config.baud_rate;
  settings.data_bits = UART_DATA_8_BITS;
  settings.parity = UART_PARITY_DISABLE;
  settings.stop_bits = UART_STOP_BITS_1;
  settings.flow_ctrl = flow_control ? UART_HW_FLOWCTRL_CTS_RTS : UART_HW_FLOWCTRL_DISABLE;
  settings.rx_flow_ctrl_thresh = kEspRtsThreshold;
  settings.source_clk = UART_SCLK_DEFAULT;
  return uart_driver_install(port, static_cast<int>(kEspReceiveRingBytes),
                             static_cast<int>(kEspSendRingBytes), 0, nullptr,
                             ESP_INTR_FLAG_IRAM) == ESP_OK &&
         uart_param_config(port, &settings) == ESP_OK &&
         uart_set_pin(port, config.tx_pin, config.rx_pin, config.rts_pin, config.cts_pin) ==
             ESP_OK &&
         uart_set_rx_full_threshold(port, kEspFifoFullThreshold) == ESP_OK;
}

int32_t EspUartStream::read(uint8_t* data, size_t capacity, uint32_t timeout_ms) {
  const auto port = static_cast<uart_port_t>(port_);
  // The driver waits until all bytes asked for are there: wait for one, then take what there is.
  const int first = uart_read_bytes(port, data, 1, esp_ticks(timeout_ms));
  if (first <= 0 || capacity == 1) {
    return first < 0 ? kClosed : first;
  }
  size_t waiting = 0;
  if (uart_get_buffered_data_len(port, &waiting) != ESP_OK || waiting == 0) {
    return first;
  }
  const size_t room = capacity - 1;
  const auto more = static_cast<uint32_t>(waiting < room ? waiting : room);
  const int rest = uart_read_bytes(port, data + 1, more, 0);
  return rest > 0 ? first + rest : first;
}

bool EspUartStream::write(const uint8_t* data, size_t size) {
  // Waits for room in the send ring; a UART always drains, unless CTS holds it.
  return uart_write_bytes(static_cast<uart_port_t>(port_), data, size) == static_cast<int>(size);
}

}  // namespace tbft
