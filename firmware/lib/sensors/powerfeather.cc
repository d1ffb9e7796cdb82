#include "sensors/powerfeather.h"

namespace tbft {
namespace {

// ---- BQ25628E: SLUSFA4, section 8.5 "Register Maps"; 16-bit registers, low byte first
constexpr uint8_t kAdcControl = 0x26;
constexpr uint8_t kAdcDisable = 0x27;
constexpr uint8_t kIbusAdc = 0x28;
constexpr uint8_t kIbatAdc = 0x2a;
constexpr uint8_t kVbusAdc = 0x2c;
constexpr uint8_t kVbatAdc = 0x30;
constexpr uint8_t kPartInformation = 0x38;

constexpr uint8_t kPartMask = 7U << 3;
constexpr uint8_t kPart = 4U << 3;

constexpr uint8_t kAdcEnable = 1U << 7;   // clears itself at the end of a single conversion
constexpr uint8_t kAdcOneShot = 1U << 6;  // and the sample bits 5:4 at 0: 12 bits
// ADC_Function_Disable_0: bit 7 IBUS, 6 IBAT, 5 VBUS, 4 VBAT, 3 VSYS, 2 TS, 1 TDIE, 0 VPMID
constexpr uint8_t kOnlyBattery = 0xff & ~(1U << 6 | 1U << 4);
constexpr uint8_t kOnlySupply = 0xff & ~(1U << 7 | 1U << 5);

constexpr int32_t kIbatUa = 4000;         // bits 15:2, two's complement, charging is positive
constexpr int32_t kIbusUa = 2000;         // bits 15:1, two's complement
constexpr uint16_t kIbatTurned = 0x8000;  // the current changed its direction while converting
constexpr int32_t kVbatUv = 1990;         // bits 12:1
constexpr int32_t kVbusUv = 3970;         // bits 14:2

// ---- LC709204F: data sheet, table "Function of Registers"; a word, low byte first, then a CRC-8
constexpr uint8_t kCellVoltage = 0x09;
constexpr uint8_t kRsoc = 0x0d;
constexpr uint8_t kPowerMode = 0x15;
constexpr uint16_t kOperational = 0x0001;

// CRC-8 with the polynomial x^8 + x^2 + x + 1, over the whole transfer, addresses included.
uint8_t crc8(const uint8_t* data, size_t size) {
  constexpr uint8_t kPolynomial = 0x07;
  uint8_t crc = 0;
  for (size_t i = 0; i < size; ++i) {
    crc = static_cast<uint8_t>(crc ^ data[i]);
    for (int bit = 0; bit < 8; ++bit) {
      crc = static_cast<uint8_t>((uint32_t{crc} << 1) ^ ((crc & 0x80U) != 0 ? kPolynomial : 0U));
    }
  }
  return crc;
}

}  // namespace

SensorStatus PowerFeatherSensor::convert() {
  return device_.write(kAdcControl, 1, kAdcEnable | kAdcOneShot);
}

SensorStatus PowerFeatherSensor::start() {
  uint8_t part = 0;
  SensorStatus status = device_.read8(kPartInformation, &part);
  if (status != SensorStatus::kOk) {
    return status;
  }
  if ((part & kPartMask) != kPart) {
    return SensorStatus::kWrongDevice;
  }
  status =
      device_.write(kAdcDisable, 1, channel_ == Channel::kBattery ? kOnlyBattery : kOnlySupply);
  return status == SensorStatus::kOk ? convert() : status;
}

SensorStatus PowerFeatherSensor::read(CurrentReading* reading) {
  uint8_t control = 0;
  SensorStatus status = device_.read8(kAdcControl, &control);
  if (status != SensorStatus::kOk) {
    return status;
  }
  if ((control & kAdcEnable) != 0) {
    return SensorStatus::kNotReady;
  }
  const bool battery = channel_ == Channel::kBattery;
  uint16_t current = 0;
  uint16_t voltage = 0;
  status = device_.read16(battery ? kIbatAdc : kIbusAdc, &current);
  if (status == SensorStatus::kOk) {
    status = device_.read16(battery ? kVbatAdc : kVbusAdc, &voltage);
  }
  if (status == SensorStatus::kOk) {
    status = convert();
  }
  if (status != SensorStatus::kOk) {
    return status;
  }
  if (battery && current == kIbatTurned) {
    return SensorStatus::kNotReady;
  }
  if (battery) {
    reading->current_ua = -(sign_extended(current, 16) >> 2) * kIbatUa;
    reading->voltage_uv = static_cast<int32_t>((voltage >> 1) & 0xfffU) * kVbatUv;
  } else {
    reading->current_ua = (sign_extended(current, 16) >> 1) * kIbusUa;
    reading->voltage_uv = static_cast<int32_t>((voltage >> 2) & 0x1fffU) * kVbusUv;
  }
  reading->flags = 0;
  return SensorStatus::kOk;
}

SensorStatus Lc709204f::read16(uint8_t number, uint16_t* value) {
  // write address, register, read address, low, high, CRC
  uint8_t transfer[6] = {kAddress << 1, number, (kAddress << 1) | 1};
  const SensorStatus status = device_.read_bytes(number, transfer + 3, 3);
  if (status != SensorStatus::kOk) {
    return status;
  }
  if (crc8(transfer, 5) != transfer[5]) {
    return SensorStatus::kBadChecksum;
  }
  *value = static_cast<uint16_t>(transfer[3] | (transfer[4] << 8));
  return status;
}

SensorStatus Lc709204f::write16(uint8_t number, uint16_t value) {
  uint8_t transfer[5] = {kAddress << 1, number, static_cast<uint8_t>(value),
                         static_cast<uint8_t>(value >> 8)};
  transfer[4] = crc8(transfer, 4);
  return device_.write_bytes(number, transfer + 2, 3);
}

SensorStatus Lc709204f::start() { return write16(kPowerMode, kOperational); }

SensorStatus Lc709204f::read_voltage_mv(uint16_t* millivolt) {
  return read16(kCellVoltage, millivolt);
}

SensorStatus Lc709204f::read_charge_percent(uint8_t* percent) {
  uint16_t value = 0;
  const SensorStatus status = read16(kRsoc, &value);
  if (status == SensorStatus::kOk) {
    *percent = static_cast<uint8_t>(value > 100 ? 100 : value);
  }
  return status;
}

bool PowerFeatherBattery::read(uint32_t, BatteryState* state) {
  if (!started_) {
    started_ = gauge_.start() == SensorStatus::kOk;
  }
  BatteryState now;
  if (!started_ || gauge_.read_voltage_mv(&now.mv) != SensorStatus::kOk ||
      gauge_.read_charge_percent(&now.percent) != SensorStatus::kOk) {
    started_ = false;
    return false;
  }
  *state = now;
  return true;
}

}  // namespace tbft
