// A device on an I2C bus whose registers are read and written by number, most significant byte
// first or last. A stuck bus is freed once per transfer, and the transfer repeated.
#pragma once

#include <cstddef>
#include <cstdint>

#include "hal/current_sensor.h"
#include "hal/i2c_bus.h"

namespace tbft {

enum class ByteOrder : uint8_t { kBigEndian, kLittleEndian };

class RegisterDevice {
 public:
  RegisterDevice(I2cBus& bus, uint8_t address, ByteOrder order)
      : bus_(bus), address_(address), order_(order) {}

  // Registers of 1 … 8 bytes; the value is unsigned, in the low bits.
  SensorStatus read(uint8_t number, size_t size, uint64_t* value);
  SensorStatus read16(uint8_t number, uint16_t* value);
  SensorStatus read8(uint8_t number, uint8_t* value);
  // Registers of 1 or 2 bytes.
  SensorStatus write(uint8_t number, size_t size, uint16_t value);

  // The bytes as they are, `size` at most kMaxBytes: for protocols with a checksum.
  SensorStatus read_bytes(uint8_t number, uint8_t* data, size_t size);
  SensorStatus write_bytes(uint8_t number, const uint8_t* data, size_t size);

  uint8_t address() const { return address_; }

  static constexpr size_t kMaxBytes = 8;

 private:
  // Whether the transfer with this outcome is worth repeating: the bus was stuck, and is free now.
  bool freed(I2cResult result);

  I2cBus& bus_;
  uint8_t address_;
  ByteOrder order_;
};

// What a result of the bus means for a sensor on it.
SensorStatus to_status(I2cResult result);

// The lowest `bits` of a value as a two's complement number; bits 1 … 32.
int32_t sign_extended(uint32_t value, uint32_t bits);

// numerator / denominator to the nearest, halves away from zero, clipped to 32 bits.
// denominator > 0, |numerator| < 2^62.
int32_t rounded_quotient(int64_t numerator, int64_t denominator);

}  // namespace tbft
