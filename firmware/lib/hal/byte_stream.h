#pragma once

#include <cstddef>
#include <cstdint>

namespace tbft {

// A serial port, or what stands for one.
class ByteStream {
 public:
  static constexpr int32_t kClosed = -1;
  // A timeout that never passes.
  static constexpr uint32_t kForever = 0xffffffff;

  // Waits up to timeout_ms for the first byte and returns what is there, 1 … capacity bytes; 0 when
  // none came in time; kClosed when none will ever come. capacity at least 1.
  virtual int32_t read(uint8_t* data, size_t capacity, uint32_t timeout_ms) = 0;
  // Waits until all bytes are on their way. False when the other side is gone.
  virtual bool write(const uint8_t* data, size_t size) = 0;

 protected:
  ~ByteStream() = default;
};

}  // namespace tbft
