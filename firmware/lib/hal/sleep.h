#pragma once

#include <cstdint>

namespace tbft {

// Deep sleep, and the clock that goes on meanwhile.
class Sleep {
 public:
  // Microseconds since an arbitrary start; goes on through deep sleep, may begin anew after a power
  // cut.
  virtual uint64_t now_us() = 0;
  // Lets time pass until now_us() is at least `wake_us`, or something else wakes the board. A board
  // whose deep sleep ends in a reset does not return: whatever must outlive it is in flash by then.
  // False when it did not sleep: the caller asks again.
  virtual bool until(uint64_t wake_us) = 0;

 protected:
  ~Sleep() = default;
};

}  // namespace tbft
