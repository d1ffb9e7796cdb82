// A UART of the chip as a byte stream: ESP-IDF's driver with its interrupt-driven receive ring.
#pragma once

#include "hal/byte_stream.h"

namespace tbft {

class EspUartStream final : public ByteStream {
 public:
  static constexpr int kNoPin = -1;

  struct Config {
    int port = 0;
    int baud_rate = 921'600;
    // kNoPin leaves TX and RX where the chip has them after reset, and RTS and CTS unused.
    int tx_pin = kNoPin;
    int rx_pin = kNoPin;
    int rts_pin = kNoPin;  // both or neither: hardware flow control
    int cts_pin = kNoPin;
  };

  // Once, before the first read. False when the driver refuses.
  bool open(const Config& config);

  int32_t read(uint8_t* data, size_t capacity, uint32_t timeout_ms) override;
  bool write(const uint8_t* data, size_t size) override;

 private:
  int port_ = 0;
};

}  // namespace tbft
