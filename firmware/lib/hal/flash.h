#pragma once

#include <cstdint>

namespace tbft {

// One area of NOR flash. Offsets are within the area; all sizes are in bytes.
class Flash {
 public:
  virtual uint32_t size_bytes() const = 0;
  // Smallest piece that can be erased, and smallest that can be programmed; both powers of two.
  virtual uint32_t erase_bytes() const = 0;
  virtual uint32_t program_bytes() const = 0;

  // Sets [offset, offset + size) to 0xff; both a multiple of erase_bytes(). False when it failed:
  // the content is then unknown.
  virtual bool erase(uint32_t offset, uint32_t size) = 0;
  // Writes to erased flash; offset and size a multiple of program_bytes(). False when it failed:
  // the content is then unknown.
  virtual bool program(uint32_t offset, const uint8_t* data, uint32_t size) = 0;
  virtual bool read(uint32_t offset, uint8_t* data, uint32_t size) = 0;

 protected:
  ~Flash() = default;
};

}  // namespace tbft
