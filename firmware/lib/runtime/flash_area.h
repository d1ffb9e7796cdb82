// A part of a flash, as a flash of its own.
#pragma once

#include "hal/flash.h"

namespace tbft {

class FlashArea final : public Flash {
 public:
  // [offset, offset + size) of `whole`; both a multiple of its erase_bytes().
  FlashArea(Flash& whole, uint32_t offset, uint32_t size)
      : whole_(whole), offset_(offset), size_(size) {}

  uint32_t size_bytes() const override { return size_; }
  uint32_t erase_bytes() const override { return whole_.erase_bytes(); }
  uint32_t program_bytes() const override { return whole_.program_bytes(); }
  bool erase(uint32_t offset, uint32_t size) override {
    return inside(offset, size) && whole_.erase(offset_ + offset, size);
  }
  bool program(uint32_t offset, const uint8_t* data, uint32_t size) override {
    return inside(offset, size) && whole_.program(offset_ + offset, data, size);
  }
  bool read(uint32_t offset, uint8_t* data, uint32_t size) override {
    return inside(offset, size) && whole_.read(offset_ + offset, data, size);
  }

 private:
  bool inside(uint32_t offset, uint32_t size) const { return uint64_t{offset} + size <= size_; }

  Flash& whole_;
  uint32_t offset_;
  uint32_t size_;
};

}  // namespace tbft
