// TI INA226 current and voltage monitor (data sheet SBOS547): 16 bits, address 0x40 … 0x4f.
#pragma once

#include "sensors/register_device.h"

namespace tbft {

class Ina226 final : public CurrentSensor {
 public:
  struct Config {
    uint32_t shunt_uohm = 100'000;  // at least kMinShuntUohm
    uint8_t conversion = 4;         // 0 … 7: 140, 204, 332, 588, 1100, 2116, 4156, 8244 µs each
    uint8_t average = 0;            // 0 … 7: 1, 4, 16, 64, 128, 256, 512, 1024 conversions
  };

  Ina226(I2cBus& bus, uint8_t address, const Config& config)
      : device_(bus, address, ByteOrder::kBigEndian), config_(config) {}

  SensorStatus start() override;
  SensorStatus read(CurrentReading* reading) override;
  uint32_t conversion_us() const override;
  const char* name() const override { return "INA226"; }

  static constexpr uint32_t kMinShuntUohm = 100;

 private:
  RegisterDevice device_;
  Config config_;
};

}  // namespace tbft
