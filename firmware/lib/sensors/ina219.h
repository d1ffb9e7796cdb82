// TI INA219 current and voltage monitor (data sheet SBOS448): 12 bits, address 0x40 … 0x4f.
#pragma once

#include "sensors/register_device.h"

namespace tbft {

class Ina219 final : public CurrentSensor {
 public:
  // Full scale of the shunt voltage; the resolution is 10 µV in every range.
  enum class Range : uint8_t { k40mV = 0, k80mV = 1, k160mV = 2, k320mV = 3 };

  struct Config {
    uint32_t shunt_uohm = 100'000;  // at least kMinShuntUohm
    Range range = Range::k320mV;
    uint8_t average_log2 = 0;  // 0 … 7: 1 … 128 conversions are averaged
  };

  Ina219(I2cBus& bus, uint8_t address, const Config& config)
      : device_(bus, address, ByteOrder::kBigEndian), config_(config) {}

  SensorStatus start() override;
  SensorStatus read(CurrentReading* reading) override;
  uint32_t conversion_us() const override;
  const char* name() const override { return "INA219"; }

  static constexpr uint32_t kMinShuntUohm = 100;

 private:
  uint16_t settings() const;

  RegisterDevice device_;
  Config config_;
};

}  // namespace tbft
