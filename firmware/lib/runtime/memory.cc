#include "runtime/memory.h"

#include "runtime/artifact_check.h"

namespace tbft {

uint64_t Memory::total_bytes() const {
  uint64_t total = 0;
  for (uint32_t i = 0; i < count_; ++i) total += regions_[i].size();
  return total;
}

Status Memory::place(const Header& header, RegionBases* bases) const {
  *bases = RegionBases();
  for (uint32_t i = 0; i < count_; ++i) {
    if (reinterpret_cast<uintptr_t>(regions_[i].data()) % kStorageAlignment != 0) {
      return StatusCode::kMisaligned;
    }
  }
  if (header.arena_bytes > total_bytes()) return {StatusCode::kArenaTooSmall, header.arena_bytes};
  uint64_t used[kMaxRegions] = {};
  for (uint32_t i = 0; i < kMaxRegions; ++i) {
    const uint64_t needed = header.regions[i].bytes;
    const auto has_room = [&](uint32_t region) {
      return region < count_ && used[region] + needed <= regions_[region].size();
    };
    if (needed == 0) continue;
    uint32_t chosen = i;
    if (!has_room(chosen)) {
      chosen = 0;
      while (chosen < count_ && !has_room(chosen)) ++chosen;
    }
    if (chosen >= count_) return {StatusCode::kRegionTooSmall, i};
    bases->at[i] = regions_[chosen].data() + used[chosen];
    used[chosen] += round_up16(needed);
  }
  return {};
}

}  // namespace tbft
