#pragma once

#include <cstdint>

namespace tbft {

class Clock {
 public:
  // Microseconds since an arbitrary start; never goes back.
  virtual uint64_t now_us() = 0;

 protected:
  ~Clock() = default;
};

}  // namespace tbft
