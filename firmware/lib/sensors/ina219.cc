#include "sensors/ina219.h"

namespace tbft {
namespace {

// Registers and fields: SBOS448, section 8.6 "Register Maps".
constexpr uint8_t kConfiguration = 0x00;
constexpr uint8_t kShuntVoltage = 0x01;
constexpr uint8_t kBusVoltage = 0x02;
constexpr uint8_t kPower = 0x03;

constexpr uint16_t kBusRange32V = 1U << 13;
constexpr uint32_t kRangeShift = 11;
constexpr uint32_t kBusAdcShift = 7;
constexpr uint32_t kShuntAdcShift = 3;
constexpr uint16_t kAverage = 8;  // + log2 of the number of 12-bit conversions
constexpr uint16_t kContinuousBoth = 7;

constexpr uint16_t kConversionReady = 1U << 1;  // CNVR, of the bus voltage register
constexpr uint32_t kBusVoltageShift = 3;
constexpr int32_t kBusVoltageUv = 4000;
constexpr int64_t kShuntUv = 10;
constexpr int64_t kUohmPerOhm = 1'000'000;
// Shunt voltage register at the end of the range: 4000 × 10 µV at 40 mV, doubled with each range.
constexpr int32_t kFullScaleOf40mV = 4000;
// 532 µs for a 12-bit conversion (Table 5, "ADC Settings").
constexpr uint32_t kConversionUs = 532;

}  // namespace

uint16_t Ina219::settings() const {
  const uint32_t adc = kAverage | config_.average_log2;
  return static_cast<uint16_t>(kBusRange32V |
                               (static_cast<uint32_t>(config_.range) << kRangeShift) |
                               (adc << kBusAdcShift) | (adc << kShuntAdcShift) | kContinuousBoth);
}

SensorStatus Ina219::start() {
  if (config_.shunt_uohm < kMinShuntUohm || config_.average_log2 > 7) {
    return SensorStatus::kBadConfig;
  }
  SensorStatus status = device_.write(kConfiguration, 2, settings());
  if (status != SensorStatus::kOk) {
    return status;
  }
  // It has no identification register; that it keeps the settings must do.
  uint16_t kept = 0;
  status = device_.read16(kConfiguration, &kept);
  if (status == SensorStatus::kOk && kept != settings()) {
    return SensorStatus::kWrongDevice;
  }
  return status;
}

SensorStatus Ina219::read(CurrentReading* reading) {
  uint16_t bus = 0;
  SensorStatus status = device_.read16(kBusVoltage, &bus);
  if (status != SensorStatus::kOk) {
    return status;
  }
  if ((bus & kConversionReady) == 0) {
    return SensorStatus::kNotReady;
  }
  uint16_t shunt = 0;
  status = device_.read16(kShuntVoltage, &shunt);
  if (status != SensorStatus::kOk) {
    return status;
  }
  uint16_t power = 0;  // reading it clears CNVR
  status = device_.read16(kPower, &power);
  if (status != SensorStatus::kOk) {
    return status;
  }
  const int32_t raw = sign_extended(shunt, 16);
  const int32_t end = kFullScaleOf40mV << static_cast<uint32_t>(config_.range);
  reading->current_ua = rounded_quotient(raw * kShuntUv * kUohmPerOhm, config_.shunt_uohm);
  reading->voltage_uv = static_cast<int32_t>(bus >> kBusVoltageShift) * kBusVoltageUv;
  reading->flags = raw >= end || raw <= -end ? CurrentReading::kOverRange : uint8_t{0};
  return SensorStatus::kOk;
}

uint32_t Ina219::conversion_us() const {
  return 2 * (kConversionUs << config_.average_log2);  // shunt, then bus
}

}  // namespace tbft
