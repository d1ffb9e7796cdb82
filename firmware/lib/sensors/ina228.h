// TI INA228 current, voltage and energy monitor (data sheet SBOSA20): 20 bits, address 0x40 … 0x4f.
#pragma once

#include "sensors/register_device.h"

namespace tbft {

class Ina228 final : public CurrentSensor {
 public:
  struct Config {
    uint32_t shunt_uohm = 100'000;  // at least kMinShuntUohm
    bool narrow = false;            // full scale of the shunt: ±163.84 mV, or narrow ±40.96 mV
    uint8_t conversion = 5;         // 0 … 7: 50, 84, 150, 280, 540, 1052, 2074, 4120 µs each
    uint8_t average = 0;            // 0 … 7: 1, 4, 16, 64, 128, 256, 512, 1024 conversions
  };

  Ina228(I2cBus& bus, uint8_t address, const Config& config)
      : device_(bus, address, ByteOrder::kBigEndian), config_(config) {}

  // Also clears the energy.
  SensorStatus start() override;
  SensorStatus read(CurrentReading* reading) override;
  uint32_t conversion_us() const override;
  const char* name() const override { return "INA228"; }

  // Energy since start() that the sensor summed itself from every conversion, in µJ.
  SensorStatus read_energy_uj(uint64_t* energy_uj);

  static constexpr uint32_t kMinShuntUohm = 100;

 private:
  RegisterDevice device_;
  Config config_;
};

}  // namespace tbft
