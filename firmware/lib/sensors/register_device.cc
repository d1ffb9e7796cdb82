#include "sensors/register_device.h"

#include <cstring>

namespace tbft {

SensorStatus to_status(I2cResult result) {
  switch (result) {
    case I2cResult::kOk:
      return SensorStatus::kOk;
    case I2cResult::kNoAnswer:
      return SensorStatus::kNoAnswer;
    case I2cResult::kStuck:
      return SensorStatus::kBusStuck;
    case I2cResult::kFailed:
      break;
  }
  return SensorStatus::kBusFailed;
}

int32_t sign_extended(uint32_t value, uint32_t bits) {
  const uint32_t unused = 32 - bits;
  return static_cast<int32_t>(value << unused) >> unused;
}

int32_t rounded_quotient(int64_t numerator, int64_t denominator) {
  const int64_t half = denominator / 2;
  const int64_t quotient =
      numerator < 0 ? -((half - numerator) / denominator) : (numerator + half) / denominator;
  if (quotient > INT32_MAX) {
    return INT32_MAX;
  }
  return quotient < INT32_MIN ? INT32_MIN : static_cast<int32_t>(quotient);
}

bool RegisterDevice::freed(I2cResult result) {
  return result == I2cResult::kStuck && bus_.recover() == I2cResult::kOk;
}

SensorStatus RegisterDevice::read_bytes(uint8_t number, uint8_t* data, size_t size) {
  I2cResult result = bus_.write_read(address_, &number, 1, data, size);
  if (freed(result)) {
    result = bus_.write_read(address_, &number, 1, data, size);
  }
  return to_status(result);
}

SensorStatus RegisterDevice::write_bytes(uint8_t number, const uint8_t* data, size_t size) {
  uint8_t message[1 + kMaxBytes];
  if (size > kMaxBytes) {
    return SensorStatus::kBadConfig;
  }
  message[0] = number;
  memcpy(message + 1, data, size);
  I2cResult result = bus_.write(address_, message, 1 + size);
  if (freed(result)) {
    result = bus_.write(address_, message, 1 + size);
  }
  return to_status(result);
}

SensorStatus RegisterDevice::read(uint8_t number, size_t size, uint64_t* value) {
  uint8_t bytes[kMaxBytes] = {};
  if (size > kMaxBytes) {
    return SensorStatus::kBadConfig;
  }
  const SensorStatus status = read_bytes(number, bytes, size);
  if (status != SensorStatus::kOk) {
    return status;
  }
  uint64_t sum = 0;
  for (size_t i = 0; i < size; ++i) {
    sum = (sum << 8) | bytes[order_ == ByteOrder::kBigEndian ? i : size - 1 - i];
  }
  *value = sum;
  return status;
}

SensorStatus RegisterDevice::read16(uint8_t number, uint16_t* value) {
  uint64_t wide = 0;
  const SensorStatus status = read(number, 2, &wide);
  if (status == SensorStatus::kOk) {
    *value = static_cast<uint16_t>(wide);
  }
  return status;
}

SensorStatus RegisterDevice::read8(uint8_t number, uint8_t* value) {
  return read_bytes(number, value, 1);
}

SensorStatus RegisterDevice::write(uint8_t number, size_t size, uint16_t value) {
  const auto high = static_cast<uint8_t>(value >> 8);
  const auto low = static_cast<uint8_t>(value);
  if (size == 1) {
    return write_bytes(number, &low, 1);
  }
  const bool big = order_ == ByteOrder::kBigEndian;
  const uint8_t bytes[2] = {big ? high : low, big ? low : high};
  return write_bytes(number, bytes, sizeof bytes);
}

}  // namespace tbft
