// NOR flash in memory whose power fails at a chosen operation.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "hal/flash.h"

namespace tbft {

// What the operation during which the power fails leaves behind.
enum class Cut : uint32_t {
  kLost = 0,    // nothing of it happened
  kTorn = 1,    // its first half
  kSpotty = 2,  // about every second byte, chosen at random
  kDone = 3,    // all of it, but nobody was left to hear so
};

class FakeFlash final : public Flash {
 public:
  FakeFlash(uint32_t size, uint32_t erase_unit, uint32_t program_unit)
      : erase_unit_(erase_unit),
        program_unit_(program_unit),
        bytes_(size, 0xff),
        unreadable_((size + erase_unit - 1) / erase_unit, false) {}

  // Power fails during the `operation`-th operation from now (1 = the next); 0 = never. Erasing
  // counts block by block.
  void cut_at(uint32_t operation, Cut cut) {
    cut_at_ = operation;
    cut_ = cut;
    operations_ = 0;
    powered_ = true;
  }
  uint32_t operations() const { return operations_; }
  bool powered() const { return powered_; }
  // From now on an operation fails without power loss: bit 0 erase, 1 program, 2 read; bit 3:
  // program says yes and writes nothing.
  void fail(uint32_t kinds) { failing_ = kinds; }
  // Reads of the erase blocks from `offset` on fail, each until it is erased.
  void make_unreadable(uint32_t offset, uint32_t size) {
    for (uint32_t at = offset; at < offset + size; at += erase_unit_) {
      unreadable_[at / erase_unit_] = true;
    }
  }
  bool is_unreadable(uint32_t offset) const { return unreadable_[offset / erase_unit_]; }
  // As if the blocks could be read again, with what was in them.
  void make_readable() { unreadable_.assign(unreadable_.size(), false); }
  std::vector<uint8_t>& bytes() { return bytes_; }

  uint32_t size_bytes() const override { return static_cast<uint32_t>(bytes_.size()); }
  uint32_t erase_bytes() const override { return erase_unit_; }
  uint32_t program_bytes() const override { return program_unit_; }

  bool erase(uint32_t offset, uint32_t size) override {
    if (!inside(offset, size, erase_unit_) || (failing_ & 1) != 0) return false;
    const std::vector<uint8_t> blank(erase_unit_, 0xff);
    for (uint32_t at = offset; at < offset + size; at += erase_unit_) {
      if (!change(at, blank.data(), erase_unit_, false)) return false;
      unreadable_[at / erase_unit_] = false;
    }
    return true;
  }

  bool program(uint32_t offset, const uint8_t* data, uint32_t size) override {
    if (!inside(offset, size, program_unit_) || (failing_ & 2) != 0) return false;
    if ((failing_ & 8) != 0) return true;
    return change(offset, data, size, true);
  }

  bool read(uint32_t offset, uint8_t* data, uint32_t size) override {
    if (!powered_ || (failing_ & 4) != 0 || !inside(offset, size, 1)) return false;
    for (uint32_t i = 0; i < size; ++i) {
      if (unreadable_[(offset + i) / erase_unit_]) return false;
    }
    if (size != 0) memcpy(data, bytes_.data() + offset, size);
    return true;
  }

 private:
  bool inside(uint32_t offset, uint32_t size, uint32_t unit) const {
    return offset % unit == 0 && size % unit == 0 && uint64_t{offset} + size <= bytes_.size();
  }

  bool change(uint32_t offset, const uint8_t* data, uint32_t size, bool only_clear) {
    if (!powered_) return false;
    ++operations_;
    const bool cut = cut_at_ != 0 && operations_ == cut_at_;
    for (uint32_t i = 0; i < size; ++i) {
      random_ = random_ * 1664525U + 1013904223U;
      const bool skip = cut && (cut_ == Cut::kLost || (cut_ == Cut::kTorn && i >= size / 2) ||
                                (cut_ == Cut::kSpotty && (random_ >> 31) != 0));
      if (skip) continue;
      uint8_t& byte = bytes_[offset + i];
      byte = only_clear ? static_cast<uint8_t>(byte & data[i]) : data[i];
    }
    if (cut) powered_ = false;
    return powered_;
  }

  uint32_t erase_unit_;
  uint32_t program_unit_;
  std::vector<uint8_t> bytes_;
  std::vector<bool> unreadable_;  // by erase block
  uint32_t operations_ = 0;
  uint32_t cut_at_ = 0;
  Cut cut_ = Cut::kLost;
  bool powered_ = true;
  uint32_t failing_ = 0;
  uint32_t random_ = 1;
};

}  // namespace tbft
