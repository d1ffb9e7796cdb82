// Where samples come from: a camera, a microphone, or images that are replayed.
#pragma once

#include <cstdint>

namespace tbft {

class SampleSource {
 public:
  // Whether there is anything to take: false where a replay has not been filled yet.
  virtual bool ready() = 0;
  // Takes a sample now: `size` int8 values as the network wants them (a pixel minus 128). `id` and
  // `time_s` (seconds of the duty-cycled operation) are for sources that replay; the same id gives
  // the same sample then. False when the sensor gave none.
  virtual bool take(uint32_t id, uint32_t time_s, int8_t* sample, uint32_t size) = 0;
  // The label of an earlier sample, where the source has learnt it by `now_s` (a replay, a second
  // sensor, a button). Most sensors never do: labels then come over the wire.
  virtual bool label(uint32_t id, uint32_t taken_s, uint32_t now_s, uint16_t* label) = 0;

 protected:
  ~SampleSource() = default;
};

}  // namespace tbft
