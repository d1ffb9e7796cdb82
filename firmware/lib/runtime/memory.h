// The board's memory for the arena: up to four regions, fastest first (docs/artifact.md).
#pragma once

#include <cstdint>

#include "runtime/artifact.h"
#include "runtime/span.h"
#include "runtime/status.h"

namespace tbft {

// Where each region of an artifact starts on this board; null for the empty ones.
struct RegionBases {
  uint8_t* at[kMaxRegions] = {};

  uint8_t* of(const Tensor& tensor) const { return at[tensor.region] + tensor.offset; }
};

class Memory {
 public:
  Memory() = default;
  // Each span aligned to 16 bytes, and its own memory; those behind the fourth are not used.
  explicit Memory(Span<const Span<uint8_t>> regions) {
    for (const Span<uint8_t>& region : regions) {
      if (count_ < kMaxRegions) regions_[count_++] = region;
    }
  }

  uint32_t count() const { return count_; }
  uint64_t bytes(uint32_t region) const { return regions_[region].size(); }
  uint64_t total_bytes() const;

  // Gives each of the artifact's regions its place: region i in the board's region i; where that
  // has too little room left, in the first that has. So a plan for one region runs on a board with
  // several, and the other way round, only slower than one made for the board.
  Status place(const Header& header, RegionBases* bases) const;

 private:
  Span<uint8_t> regions_[kMaxRegions];
  uint32_t count_ = 0;
};

}  // namespace tbft
