// Room for samples and battery readings that are sent over the wire and replayed by a board that
// has neither camera nor battery.
#pragma once

#include <cstdint>

namespace tbft {

class ReplayMemory {
 public:
  static constexpr uint16_t kNoLabel = 0xffff;

  // How many samples of this size fit, and how many are there.
  virtual uint32_t sample_limit(uint32_t sample_bytes) const = 0;
  virtual uint32_t samples() const = 0;
  virtual uint32_t battery_limit() const = 0;

  // Sample number `index`: at most samples(), and 0 forgets all earlier ones. `label` becomes known
  // `delay_s` seconds after the sample was taken; kNoLabel never. False when there is no room.
  virtual bool put_sample(uint32_t index, const int8_t* sample, uint32_t sample_bytes,
                          uint16_t label, uint32_t delay_s) = 0;
  // Point number `index` of the battery's course, in ascending time; 0 forgets all earlier ones.
  virtual bool put_battery(uint32_t index, uint32_t time_s, uint16_t mv, uint8_t percent) = 0;

 protected:
  ~ReplayMemory() = default;
};

}  // namespace tbft
