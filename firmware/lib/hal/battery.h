#pragma once

#include <cstdint>

namespace tbft {

struct BatteryState {
  static constexpr uint8_t kUnknownPercent = 255;

  uint16_t mv = 0;                    // 0: unknown
  uint8_t percent = kUnknownPercent;  // 0 … 100
};

class Battery {
 public:
  // Whether read() gives a voltage, and a state of charge.
  virtual bool knows_mv() const = 0;
  virtual bool knows_percent() const = 0;
  // `time_s`: seconds of the duty-cycled operation, which a replayed battery goes by. False when
  // the gauge does not answer.
  virtual bool read(uint32_t time_s, BatteryState* state) = 0;

 protected:
  ~Battery() = default;
};

}  // namespace tbft
