// The USB Serial/JTAG port inside ESP32-S3, -C3 and -P4 as a byte stream: a serial port for the
// host, without a bridge chip and without a baud rate.
#pragma once

#include "hal/byte_stream.h"

namespace tbft {

class EspUsbStream final : public ByteStream {
 public:
  // Once, before the first read. False when the driver refuses.
  bool open();

  int32_t read(uint8_t* data, size_t capacity, uint32_t timeout_ms) override;
  // False when nobody takes the bytes: the cable is out, or no program has the port open. What was
  // queued by then goes out when somebody does.
  bool write(const uint8_t* data, size_t size) override;
};

}  // namespace tbft
