#include "sensors/ina228.h"

namespace tbft {
namespace {

// Registers and fields: SBOSA20, section 7.6 "Register Maps".
constexpr uint8_t kConfig = 0x00;
constexpr uint8_t kAdcConfig = 0x01;
constexpr uint8_t kShuntCal = 0x02;
constexpr uint8_t kVshunt = 0x04;
constexpr uint8_t kVbus = 0x05;
constexpr uint8_t kEnergy = 0x09;
constexpr uint8_t kDiagnostics = 0x0b;
constexpr uint8_t kManufacturerId = 0x3e;
constexpr uint8_t kDeviceId = 0x3f;

constexpr uint16_t kTexasInstruments = 0x5449;
constexpr uint16_t kDevice = 0x2280;
constexpr uint16_t kDeviceMask = 0xfff0;  // the low four bits are the revision

constexpr uint16_t kClearAccumulators = 1U << 14;  // RSTACC
constexpr uint16_t kNarrowRange = 1U << 4;         // ADCRANGE
constexpr uint32_t kModeShift = 12;
constexpr uint32_t kContinuousBusAndShunt = 0xb;
constexpr uint32_t kBusTimeShift = 9;
constexpr uint32_t kShuntTimeShift = 6;
constexpr uint16_t kConversionReady = 1U << 1;  // CNVRF; reading the register clears it

constexpr size_t kResultBytes = 3;  // 20 bits, left-aligned in 24
constexpr uint32_t kResultBits = 20;
constexpr uint32_t kResultShift = 4;
constexpr size_t kEnergyBytes = 5;
constexpr int32_t kLargestResult = (1 << 19) - 1;
constexpr uint8_t kLargest = 7;

// VSHUNT has 312.5 nV a bit, narrow 78.125 nV; here in pV.
constexpr int64_t kShuntPv = 312'500;
constexpr int64_t kNarrowShuntPv = 78'125;
// VBUS has 195.3125 µV a bit = 3125 / 16.
constexpr int64_t kBusUvTimes16 = 3125;

// With CURRENT_LSB = 312.5 nV / R (narrow: 78.125 nV / R), equations 2 and 3 of section 8.1.2 give
// this calibration whatever the shunt: 13107.2e6 · 312.5e-9 = 4096; narrow, which counts four-fold,
// 4 · 13107.2e6 · 78.125e-9 = 4096 as well.
constexpr uint16_t kCalibration = 4096;
// Energy of one count, 16 · 3.2 · CURRENT_LSB, in µJ · µΩ: 51.2 · 312.5e-9 · 10^12, narrow a
// fourth.
constexpr uint64_t kEnergyUjUohm = 16'000'000;
constexpr uint64_t kNarrowEnergyUjUohm = 4'000'000;

constexpr uint32_t kConversionUs[] = {50, 84, 150, 280, 540, 1052, 2074, 4120};
constexpr uint32_t kAverages[] = {1, 4, 16, 64, 128, 256, 512, 1024};

}  // namespace

SensorStatus Ina228::start() {
  if (config_.shunt_uohm < kMinShuntUohm || config_.conversion > kLargest ||
      config_.average > kLargest) {
    return SensorStatus::kBadConfig;
  }
  uint16_t maker = 0;
  uint16_t device = 0;
  SensorStatus status = device_.read16(kManufacturerId, &maker);
  if (status == SensorStatus::kOk) {
    status = device_.read16(kDeviceId, &device);
  }
  if (status != SensorStatus::kOk) {
    return status;
  }
  if (maker != kTexasInstruments || (device & kDeviceMask) != kDevice) {
    return SensorStatus::kWrongDevice;
  }
  const auto config =
      static_cast<uint16_t>(kClearAccumulators | (config_.narrow ? kNarrowRange : 0U));
  const uint32_t time = config_.conversion;
  const auto adc =
      static_cast<uint16_t>((kContinuousBusAndShunt << kModeShift) | (time << kBusTimeShift) |
                            (time << kShuntTimeShift) | config_.average);
  status = device_.write(kConfig, 2, config);
  if (status == SensorStatus::kOk) {
    status = device_.write(kShuntCal, 2, kCalibration);
  }
  if (status == SensorStatus::kOk) {
    status = device_.write(kAdcConfig, 2, adc);
  }
  return status;
}

SensorStatus Ina228::read(CurrentReading* reading) {
  uint16_t diagnostics = 0;
  SensorStatus status = device_.read16(kDiagnostics, &diagnostics);
  if (status == SensorStatus::kOk && (diagnostics & kConversionReady) == 0) {
    return SensorStatus::kNotReady;
  }
  uint64_t shunt = 0;
  uint64_t bus = 0;
  if (status == SensorStatus::kOk) {
    status = device_.read(kVshunt, kResultBytes, &shunt);
  }
  if (status == SensorStatus::kOk) {
    status = device_.read(kVbus, kResultBytes, &bus);
  }
  if (status != SensorStatus::kOk) {
    return status;
  }
  const int32_t raw = sign_extended(static_cast<uint32_t>(shunt >> kResultShift), kResultBits);
  const int32_t volts = sign_extended(static_cast<uint32_t>(bus >> kResultShift), kResultBits);
  // pV / µΩ = µA
  reading->current_ua =
      rounded_quotient(raw * (config_.narrow ? kNarrowShuntPv : kShuntPv), config_.shunt_uohm);
  reading->voltage_uv = rounded_quotient(volts * kBusUvTimes16, 16);
  const bool end = raw >= kLargestResult || raw <= -kLargestResult - 1;
  reading->flags = end ? CurrentReading::kOverRange : uint8_t{0};
  return SensorStatus::kOk;
}

SensorStatus Ina228::read_energy_uj(uint64_t* energy_uj) {
  uint64_t counts = 0;
  const SensorStatus status = device_.read(kEnergy, kEnergyBytes, &counts);
  if (status != SensorStatus::kOk) {
    return status;
  }
  // counts < 2^40 and unit < 2^24: the product can exceed 64 bits, so whole shunts first.
  const uint64_t unit = config_.narrow ? kNarrowEnergyUjUohm : kEnergyUjUohm;
  const uint64_t shunt = config_.shunt_uohm;
  *energy_uj = counts / shunt * unit + counts % shunt * unit / shunt;
  return status;
}

uint32_t Ina228::conversion_us() const {
  return 2 * kConversionUs[config_.conversion & kLargest] * kAverages[config_.average & kLargest];
}

}  // namespace tbft
