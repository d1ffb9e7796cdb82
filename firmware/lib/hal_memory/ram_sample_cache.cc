#include "hal_memory/ram_sample_cache.h"

#include <cstring>

namespace tbft {

RamSampleCache::RamSampleCache(uint8_t* storage, uint64_t storage_bytes)
    : storage_(storage), storage_bytes_(storage_bytes) {}

bool RamSampleCache::configure(uint32_t sample_bytes) {
  sample_bytes_ = sample_bytes;
  record_bytes_ = uint64_t{kHeaderBytes} + sample_bytes;
  const uint64_t slots = storage_bytes_ / record_bytes_;
  slots_ = slots < 0xffffffffU ? static_cast<uint32_t>(slots) : 0xffffffffU;
  used_ = 0;
  return slots_ != 0;
}

bool RamSampleCache::put(uint32_t slot, const uint8_t* sample, uint16_t label) {
  if (slot >= slots_) return false;
  for (; used_ <= slot; ++used_) record(used_)[2] = 0;
  uint8_t* p = record(slot);
  p[0] = static_cast<uint8_t>(label);
  p[1] = static_cast<uint8_t>(label >> 8);
  p[2] = 1;
  memcpy(p + kHeaderBytes, sample, sample_bytes_);
  return true;
}

bool RamSampleCache::has(uint32_t slot) const { return slot < used_ && record(slot)[2] == 1; }

bool RamSampleCache::get(uint32_t slot, uint8_t* sample, uint16_t* label) {
  if (!has(slot)) return false;
  const uint8_t* p = record(slot);
  *label = static_cast<uint16_t>(p[0] | (p[1] << 8));
  memcpy(sample, p + kHeaderBytes, sample_bytes_);
  return true;
}

}  // namespace tbft
