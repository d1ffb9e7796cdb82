#pragma once

#include <cstdint>

namespace tbft {

enum class SensorStatus : uint8_t {
  kOk = 0,
  kNotReady = 1,     // no conversion has ended since the last reading
  kNoAnswer = 2,     // nobody answers at the sensor's address
  kBusStuck = 3,     // a line of the bus is held low, also after the attempt to free it
  kBusFailed = 4,    // the bus controller refused
  kWrongDevice = 5,  // something else answers at the address, or it forgot its settings
  kBadChecksum = 6,  // what was read is damaged
  kBadConfig = 7,    // the settings cannot be had from this sensor
};

// In words, for people; never null.
inline const char* to_string(SensorStatus status) {
  switch (status) {
    case SensorStatus::kOk:
      return "ok";
    case SensorStatus::kNotReady:
      return "the current sensor has no new reading yet";
    case SensorStatus::kNoAnswer:
      return "the current sensor does not answer: check its wiring, power and address";
    case SensorStatus::kBusStuck:
      return "the sensor bus is stuck: a line is held low, and nine clocks did not free it";
    case SensorStatus::kBusFailed:
      return "the sensor bus refused a transfer";
    case SensorStatus::kWrongDevice:
      return "another device than expected answers at the current sensor's address, or it was "
             "reset";
    case SensorStatus::kBadChecksum:
      return "a reading of the current sensor arrived damaged";
    case SensorStatus::kBadConfig:
      return "the current sensor cannot do these settings";
  }
  return "unknown sensor status";
}

struct CurrentReading {
  // Bits of `flags`
  static constexpr uint8_t kOverRange = 1;  // at the end of the range: the true value is beyond

  int32_t current_ua = 0;  // µA; positive is what the board draws
  int32_t voltage_uv = 0;  // µV, of the supply that is measured
  uint8_t flags = 0;
};

// A sensor that converts by itself, over and over, and is asked for its latest reading.
class CurrentSensor {
 public:
  // Sets it up and starts it; may be called again after a failure.
  virtual SensorStatus start() = 0;
  // The latest reading; each conversion is handed out once. kNotReady and every failure leave
  // `reading` as it was.
  virtual SensorStatus read(CurrentReading* reading) = 0;
  // Time of one conversion of current and voltage with the settings of start(), averaging included.
  virtual uint32_t conversion_us() const = 0;
  // NUL-terminated, at most 15 bytes.
  virtual const char* name() const = 0;

 protected:
  ~CurrentSensor() = default;
};

}  // namespace tbft
