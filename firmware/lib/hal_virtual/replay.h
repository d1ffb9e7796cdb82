// A camera and a battery that replay what was sent over the wire.
#pragma once

#include <cstdint>

#include "hal/battery.h"
#include "hal/replay_memory.h"
#include "hal/sample_source.h"

namespace tbft {

// One point of a battery's course; between two points it is a straight line.
struct BatteryPoint {
  uint32_t time_s = 0;
  uint16_t mv = 0;
  uint8_t percent = BatteryState::kUnknownPercent;
};

class Replay final : public SampleSource, public Battery, public ReplayMemory {
 public:
  // All memory is the caller's. Sample `id` is number id mod samples().
  Replay(uint8_t* memory, uint64_t memory_bytes, BatteryPoint* points, uint32_t point_limit)
      : memory_(memory), memory_bytes_(memory_bytes), points_(points), point_limit_(point_limit) {}

  bool ready() override { return samples_ != 0; }
  bool take(uint32_t id, uint32_t time_s, int8_t* sample, uint32_t size) override;
  bool label(uint32_t id, uint32_t taken_s, uint32_t now_s, uint16_t* label) override;

  bool knows_mv() const override { return point_count_ != 0 && points_[0].mv != 0; }
  bool knows_percent() const override {
    return point_count_ != 0 && points_[0].percent != BatteryState::kUnknownPercent;
  }
  bool read(uint32_t time_s, BatteryState* state) override;

  uint32_t sample_limit(uint32_t sample_bytes) const override;
  uint32_t samples() const override { return samples_; }
  uint32_t battery_limit() const override { return point_limit_; }
  bool put_sample(uint32_t index, const int8_t* sample, uint32_t sample_bytes, uint16_t label,
                  uint32_t delay_s) override;
  bool put_battery(uint32_t index, uint32_t time_s, uint16_t mv, uint8_t percent) override;

 private:
  // Record: u16 label, u16 unused, u32 delay in seconds, the sample.
  static constexpr uint32_t kHeaderBytes = 8;

  uint8_t* record(uint32_t index) const {
    return memory_ + uint64_t{index} * (uint64_t{kHeaderBytes} + sample_bytes_);
  }

  uint8_t* memory_;
  uint64_t memory_bytes_;
  BatteryPoint* points_;
  uint32_t point_limit_;
  uint32_t sample_bytes_ = 0;
  uint32_t samples_ = 0;
  uint32_t point_count_ = 0;
};

}  // namespace tbft
