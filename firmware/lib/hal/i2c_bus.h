#pragma once

#include <cstddef>
#include <cstdint>

namespace tbft {

enum class I2cResult : uint8_t {
  kOk = 0,
  kNoAnswer = 1,  // no device acknowledged the address, or it refused a byte
  kStuck = 2,     // a line is held low, or the transfer did not end in time
  kFailed = 3,    // the controller refused the transfer
};

// A master on an I2C bus with 7-bit addresses. Every call ends within a bounded time, also on a bus
// that somebody holds.
class I2cBus {
 public:
  // START, address for writing, `size` bytes, STOP. At least one byte.
  virtual I2cResult write(uint8_t address, const uint8_t* data, size_t size) = 0;
  // START, address for writing, the bytes of `out`, repeated START, address for reading, `in`,
  // STOP. At least one byte each; what `in` holds after a failure is unknown.
  virtual I2cResult write_read(uint8_t address, const uint8_t* out, size_t out_size, uint8_t* in,
                               size_t in_size) = 0;
  // Frees a bus on which a device holds SDA low because it was interrupted within a byte: nine
  // clocks, with which it sends the rest of that byte and finds no acknowledge, then STOP
  // (NXP UM10204, section 3.1.16). kStuck when a line is still held afterwards.
  virtual I2cResult recover() = 0;

 protected:
  ~I2cBus() = default;
};

}  // namespace tbft
