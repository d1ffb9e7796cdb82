// What measures current and charge on the ESP32-S3 PowerFeather, first version of the board: the
// charger TI BQ25628E (data sheet SLUSFA4) and the gauge onsemi LC709204F (data sheet LC709204F/D).
// Both are on the I2C bus of the STEMMA QT connector, whose supply VSQT must be on.
#pragma once

#include "hal/battery.h"
#include "sensors/register_device.h"

namespace tbft {

// The charger's converter: current and voltage of the battery or of the supply (USB or solar). Slow
// and coarse (4 mA a step on the battery, 2 mA on the supply): for a duty cycle's budget, not for
// the energy of a training step.
class PowerFeatherSensor final : public CurrentSensor {
 public:
  enum class Channel : uint8_t {
    kBattery,  // positive while the battery feeds the board, negative while it is charged
    kSupply,
  };

  PowerFeatherSensor(I2cBus& bus, Channel channel)
      : device_(bus, kAddress, ByteOrder::kLittleEndian), channel_(channel) {}

  SensorStatus start() override;
  // Also starts the next conversion.
  SensorStatus read(CurrentReading* reading) override;
  uint32_t conversion_us() const override { return kConversionUs; }
  const char* name() const override { return channel_ == Channel::kBattery ? "battery" : "supply"; }

  static constexpr uint8_t kAddress = 0x6a;
  // The maker's own library waits this long for all channels; two take less, and read() asks.
  static constexpr uint32_t kConversionUs = 100'000;

 private:
  SensorStatus convert();

  RegisterDevice device_;
  Channel channel_;
};

// The gauge: voltage and charge of the battery. It measures no current.
class Lc709204f {
 public:
  explicit Lc709204f(I2cBus& bus) : device_(bus, kAddress, ByteOrder::kLittleEndian) {}

  // Wakes it; its estimate of the charge starts anew where it had no supply.
  SensorStatus start();
  // 0 … 5000 mV
  SensorStatus read_voltage_mv(uint16_t* millivolt);
  // 0 … 100 % of what the battery holds when full
  SensorStatus read_charge_percent(uint8_t* percent);

  static constexpr uint8_t kAddress = 0x0b;

 private:
  SensorStatus read16(uint8_t number, uint16_t* value);
  SensorStatus write16(uint8_t number, uint16_t value);

  RegisterDevice device_;
};

// The gauge as the battery of duty-cycled operation.
class PowerFeatherBattery final : public Battery {
 public:
  explicit PowerFeatherBattery(I2cBus& bus) : gauge_(bus) {}

  bool knows_mv() const override { return true; }
  bool knows_percent() const override { return true; }
  bool read(uint32_t time_s, BatteryState* state) override;

 private:
  Lc709204f gauge_;
  bool started_ = false;
};

}  // namespace tbft
