#include "sensors/ina226.h"

namespace tbft {
namespace {

// Registers and fields: SBOS547, section 7.6 "Register Maps".
constexpr uint8_t kConfiguration = 0x00;
constexpr uint8_t kShuntVoltage = 0x01;
constexpr uint8_t kBusVoltage = 0x02;
constexpr uint8_t kMaskEnable = 0x06;
constexpr uint8_t kManufacturerId = 0xfe;
constexpr uint8_t kDieId = 0xff;

constexpr uint16_t kTexasInstruments = 0x5449;
constexpr uint16_t kDie = 0x2260;
constexpr uint16_t kDieMask = 0xfff0;  // the low four bits are the revision

constexpr uint16_t kFixedBits = 1U << 14;  // reads as 1 after a reset, and stays so
constexpr uint32_t kAverageShift = 9;
constexpr uint32_t kBusTimeShift = 6;
constexpr uint32_t kShuntTimeShift = 3;
constexpr uint16_t kContinuousBoth = 7;
constexpr uint16_t kConversionReady = 1U << 3;  // CVRF; reading the register clears it

constexpr int64_t kShuntNv = 2500;
constexpr int64_t kNvPerUvAndUohm = 1000;  // nV → µV, × µΩ → Ω: 10^-3 · 10^6
constexpr int32_t kBusVoltageUv = 1250;
constexpr uint8_t kLargest = 7;

constexpr uint32_t kConversionUs[] = {140, 204, 332, 588, 1100, 2116, 4156, 8244};
constexpr uint32_t kAverages[] = {1, 4, 16, 64, 128, 256, 512, 1024};

}  // namespace

SensorStatus Ina226::start() {
  if (config_.shunt_uohm < kMinShuntUohm || config_.conversion > kLargest ||
      config_.average > kLargest) {
    return SensorStatus::kBadConfig;
  }
  uint16_t maker = 0;
  uint16_t die = 0;
  SensorStatus status = device_.read16(kManufacturerId, &maker);
  if (status == SensorStatus::kOk) {
    status = device_.read16(kDieId, &die);
  }
  if (status != SensorStatus::kOk) {
    return status;
  }
  if (maker != kTexasInstruments || (die & kDieMask) != kDie) {
    return SensorStatus::kWrongDevice;
  }
  const uint32_t time = config_.conversion;
  const uint32_t settings = kFixedBits | (uint32_t{config_.average} << kAverageShift) |
                            (time << kBusTimeShift) | (time << kShuntTimeShift) | kContinuousBoth;
  return device_.write(kConfiguration, 2, static_cast<uint16_t>(settings));
}

SensorStatus Ina226::read(CurrentReading* reading) {
  uint16_t mask = 0;
  SensorStatus status = device_.read16(kMaskEnable, &mask);
  if (status == SensorStatus::kOk && (mask & kConversionReady) == 0) {
    return SensorStatus::kNotReady;
  }
  uint16_t shunt = 0;
  uint16_t bus = 0;
  if (status == SensorStatus::kOk) {
    status = device_.read16(kShuntVoltage, &shunt);
  }
  if (status == SensorStatus::kOk) {
    status = device_.read16(kBusVoltage, &bus);
  }
  if (status != SensorStatus::kOk) {
    return status;
  }
  const int32_t raw = sign_extended(shunt, 16);
  reading->current_ua = rounded_quotient(raw * kShuntNv * kNvPerUvAndUohm, config_.shunt_uohm);
  reading->voltage_uv = static_cast<int32_t>(bus & 0x7fffU) * kBusVoltageUv;
  // ±81.92 mV is the whole register.
  reading->flags = raw == INT16_MAX || raw == INT16_MIN ? CurrentReading::kOverRange : uint8_t{0};
  return SensorStatus::kOk;
}

uint32_t Ina226::conversion_us() const {
  return 2 * kConversionUs[config_.conversion & kLargest] * kAverages[config_.average & kLargest];
}

}  // namespace tbft
