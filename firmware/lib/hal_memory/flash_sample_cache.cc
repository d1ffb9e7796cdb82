#include "hal_memory/flash_sample_cache.h"

#include <cstring>

namespace tbft {
namespace {

constexpr uint32_t kBitsPerByte = 8;
constexpr uint8_t kErased = 0xff;

uint32_t rounded_up(uint32_t value, uint32_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

bool FlashSampleCache::configure(uint32_t sample_bytes) {
  slots_ = 0;
  const uint32_t erase = flash_.erase_bytes();
  const uint32_t unit = flash_.program_bytes();
  if (sample_bytes > flash_.size_bytes() || unit > kPiece || erase > block_bytes_) {
    return false;
  }
  sample_bytes_ = sample_bytes;
  record_bytes_ = rounded_up(sample_bytes + kLabelBytes, unit);
  group_bytes_ = rounded_up(record_bytes_, erase);
  per_group_ = group_bytes_ / record_bytes_;
  const uint64_t slots = uint64_t{flash_.size_bytes() / group_bytes_} * per_group_;
  const uint64_t bits = uint64_t{used_bytes_} * kBitsPerByte;
  slots_ = static_cast<uint32_t>(slots < bits ? slots : bits);
  memset(used_, 0, used_bytes_);
  return slots_ != 0;
}

uint32_t FlashSampleCache::offset(uint32_t slot) const {
  return slot / per_group_ * group_bytes_ + slot % per_group_ * record_bytes_;
}

bool FlashSampleCache::has(uint32_t slot) const {
  return slot < slots_ && ((used_[slot / kBitsPerByte] >> (slot % kBitsPerByte)) & 1U) != 0;
}

void FlashSampleCache::set_used(uint32_t slot, bool value) {
  uint8_t& byte = used_[slot / kBitsPerByte];
  const uint32_t bit = 1U << (slot % kBitsPerByte);
  byte = static_cast<uint8_t>(value ? byte | bit : byte & ~bit);
}

bool FlashSampleCache::neighbours_used(uint32_t slot) const {
  const uint32_t first = slot / per_group_ * per_group_;
  for (uint32_t i = first; i < first + per_group_; ++i) {
    if (has(i)) {
      return true;
    }
  }
  return false;
}

bool FlashSampleCache::program(uint32_t at, const uint8_t* sample, uint16_t label) {
  const uint8_t label_bytes[kLabelBytes] = {static_cast<uint8_t>(label),
                                            static_cast<uint8_t>(label >> 8)};
  const uint32_t whole = sample_bytes_ / kPiece * kPiece;
  if (whole != 0 && !flash_.program(at, sample, whole)) {
    return false;
  }
  uint8_t last[2 * kPiece];
  memset(last, kErased, sizeof last);
  memcpy(last, sample + whole, sample_bytes_ - whole);
  memcpy(last + (sample_bytes_ - whole), label_bytes, kLabelBytes);
  return flash_.program(at + whole, last, record_bytes_ - whole);
}

// Keeps the rest of the erase block over an erasure. On failure all of it is forgotten: it needs
// another erasure before anything can be programmed there.
bool FlashSampleCache::rewrite(uint32_t slot, const uint8_t* sample, uint16_t label) {
  const uint32_t start = slot / per_group_ * group_bytes_;
  bool good = false;
  if (per_group_ == 1) {
    good = flash_.erase(start, group_bytes_) && program(start, sample, label);
  } else if (flash_.read(start, block_, group_bytes_)) {
    uint8_t* record = block_ + (offset(slot) - start);
    memset(record, kErased, record_bytes_);
    memcpy(record, sample, sample_bytes_);
    record[sample_bytes_] = static_cast<uint8_t>(label);
    record[sample_bytes_ + 1] = static_cast<uint8_t>(label >> 8);
    good = flash_.erase(start, group_bytes_) && flash_.program(start, block_, group_bytes_);
  }
  if (!good) {
    const uint32_t first = slot / per_group_ * per_group_;
    for (uint32_t i = first; i < first + per_group_ && i < slots_; ++i) {
      set_used(i, false);
    }
  }
  return good;
}

bool FlashSampleCache::put(uint32_t slot, const uint8_t* sample, uint16_t label) {
  if (slot >= slots_) {
    return false;
  }
  const bool fresh = !has(slot);
  bool good = false;
  if (fresh && !neighbours_used(slot)) {
    good = flash_.erase(slot / per_group_ * group_bytes_, group_bytes_) &&
           program(offset(slot), sample, label);
  } else {
    // A record that failed half-way cannot be programmed over.
    good = (fresh && program(offset(slot), sample, label)) || rewrite(slot, sample, label);
  }
  set_used(slot, good);
  return good;
}

bool FlashSampleCache::get(uint32_t slot, uint8_t* sample, uint16_t* label) {
  uint8_t label_bytes[kLabelBytes] = {};
  if (!has(slot) || !flash_.read(offset(slot), sample, sample_bytes_) ||
      !flash_.read(offset(slot) + sample_bytes_, label_bytes, kLabelBytes)) {
    return false;
  }
  *label = static_cast<uint16_t>(label_bytes[0] | (label_bytes[1] << 8));
  return true;
}

}  // namespace tbft
