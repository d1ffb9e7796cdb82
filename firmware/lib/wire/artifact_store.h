// Where an artifact that comes over the port is kept: memory here, a flash partition on a board.
#pragma once

#include <cstdint>
#include <cstring>

#include "runtime/span.h"

namespace tbft {
namespace wire {

class ArtifactStore {
 public:
  // Room in bytes.
  virtual uint32_t capacity() const = 0;
  // Makes room for `total` bytes, at most the capacity; what was there is lost. False when the
  // store failed.
  virtual bool begin(uint32_t total) = 0;
  // Bytes in ascending order without gaps; the range is within `total`. False when the store
  // failed.
  virtual bool write(uint32_t offset, Span<const uint8_t> data) = 0;
  // All bytes from the start, readable in place, aligned to 16.
  virtual const uint8_t* data() const = 0;

 protected:
  ~ArtifactStore() = default;
};

// In memory of the caller's, aligned to 16.
class RamArtifactStore final : public ArtifactStore {
 public:
  explicit RamArtifactStore(Span<uint8_t> memory) : memory_(memory) {}

  uint32_t capacity() const override { return static_cast<uint32_t>(memory_.size()); }
  bool begin(uint32_t total) override { return total <= memory_.size(); }
  bool write(uint32_t offset, Span<const uint8_t> data) override {
    if (offset > memory_.size() || data.size() > memory_.size() - offset) {
      return false;
    }
    if (!data.empty()) {
      memcpy(memory_.data() + offset, data.data(), data.size());
    }
    return true;
  }
  const uint8_t* data() const override { return memory_.data(); }

 private:
  Span<uint8_t> memory_;
};

}  // namespace wire
}  // namespace tbft
