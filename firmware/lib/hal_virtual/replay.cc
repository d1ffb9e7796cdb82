#include "hal_virtual/replay.h"

#include <cstring>

namespace tbft {
namespace {

// The number between `a` and `b` that is `part` of `whole` on the way.
uint32_t between(uint32_t a, uint32_t b, uint32_t part, uint32_t whole) {
  const int64_t way = int64_t{b} - int64_t{a};
  return static_cast<uint32_t>(int64_t{a} + way * int64_t{part} / int64_t{whole});
}

}  // namespace

bool Replay::take(uint32_t id, uint32_t /*time_s*/, int8_t* sample, uint32_t size) {
  if (samples_ == 0 || size != sample_bytes_) return false;
  memcpy(sample, record(id % samples_) + kHeaderBytes, size);
  return true;
}

bool Replay::label(uint32_t id, uint32_t taken_s, uint32_t now_s, uint16_t* label) {
  if (samples_ == 0) return false;
  const uint8_t* p = record(id % samples_);
  uint32_t delay_s = 0;
  memcpy(&delay_s, p + 4, sizeof delay_s);
  memcpy(label, p, sizeof *label);
  return *label != kNoLabel && now_s >= taken_s && now_s - taken_s >= delay_s;
}

bool Replay::read(uint32_t time_s, BatteryState* state) {
  if (point_count_ == 0) return false;
  uint32_t next = 0;
  while (next < point_count_ && points_[next].time_s <= time_s) ++next;
  const BatteryPoint& a = points_[next == 0 ? 0 : next - 1];
  const BatteryPoint& b = points_[next == point_count_ ? next - 1 : next];
  state->mv = a.mv;
  state->percent = a.percent;
  if (b.time_s <= a.time_s) return true;
  const uint32_t part = time_s - a.time_s;
  const uint32_t whole = b.time_s - a.time_s;
  state->mv = static_cast<uint16_t>(between(a.mv, b.mv, part, whole));
  if (knows_percent()) {
    state->percent = static_cast<uint8_t>(between(a.percent, b.percent, part, whole));
  }
  return true;
}

uint32_t Replay::sample_limit(uint32_t sample_bytes) const {
  const uint64_t limit = memory_bytes_ / (uint64_t{kHeaderBytes} + sample_bytes);
  return limit < UINT32_MAX ? static_cast<uint32_t>(limit) : UINT32_MAX;
}

bool Replay::put_sample(uint32_t index, const int8_t* sample, uint32_t sample_bytes, uint16_t label,
                        uint32_t delay_s) {
  if (index == 0) {
    samples_ = 0;
    sample_bytes_ = sample_bytes;
  }
  if (sample_bytes != sample_bytes_ || index > samples_ || index >= sample_limit(sample_bytes)) {
    return false;
  }
  uint8_t* p = record(index);
  memcpy(p, &label, sizeof label);
  memcpy(p + 4, &delay_s, sizeof delay_s);
  memcpy(p + kHeaderBytes, sample, sample_bytes);
  if (index == samples_) ++samples_;
  return true;
}

bool Replay::put_battery(uint32_t index, uint32_t time_s, uint16_t mv, uint8_t percent) {
  if (index == 0) point_count_ = 0;
  if (index != point_count_ || index >= point_limit_) return false;
  if (percent > 100 && percent != BatteryState::kUnknownPercent) return false;
  if (index != 0 && time_s <= points_[index - 1].time_s) return false;
  points_[index] = {time_s, mv, percent};
  ++point_count_;
  return true;
}

}  // namespace tbft
