#include "hal_esp/esp_usb_stream.h"

#include <driver/usb_serial_jtag.h>

#include "hal_esp/esp_serial.h"

namespace tbft {

bool EspUsbStream::open() {
  usb_serial_jtag_driver_config_t settings = {};
  settings.rx_buffer_size = kEspReceiveRingBytes;
  settings.tx_buffer_size = kEspSendRingBytes;
  return usb_serial_jtag_driver_install(&settings) == ESP_OK;
}

int32_t EspUsbStream::read(uint8_t* data, size_t capacity, uint32_t timeout_ms) {
  // Returns with the first bytes that come, up to `capacity`; 0 after the timeout.
  const int count =
      usb_serial_jtag_read_bytes(data, static_cast<uint32_t>(capacity), esp_ticks(timeout_ms));
  return count < 0 ? kClosed : count;
}

bool EspUsbStream::write(const uint8_t* data, size_t size) {
  // All or nothing per call, so in pieces that fit the ring.
  constexpr size_t kPiece = kEspSendRingBytes / 4;
  while (size != 0) {
    const size_t piece = size < kPiece ? size : kPiece;
    const int sent = usb_serial_jtag_write_bytes(data, piece, pdMS_TO_TICKS(kEspWriteTimeoutMs));
    if (sent <= 0) {
      return false;
    }
    data += sent;
    size -= static_cast<size_t>(sent);
  }
  return true;
}

}  // namespace tbft
