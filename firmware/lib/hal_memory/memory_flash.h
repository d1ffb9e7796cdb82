// NOR flash played in memory of the caller's.
#pragma once

#include "hal/flash.h"

namespace tbft {

class MemoryFlash : public Flash {
 public:
  // storage_bytes a multiple of erase_bytes, erase_bytes of program_bytes. Starts erased.
  MemoryFlash(uint8_t* storage, uint32_t storage_bytes, uint32_t erase_bytes,
              uint32_t program_bytes);

  uint32_t size_bytes() const override { return storage_bytes_; }
  uint32_t erase_bytes() const override { return erase_bytes_; }
  uint32_t program_bytes() const override { return program_bytes_; }
  bool erase(uint32_t offset, uint32_t size) override;
  bool program(uint32_t offset, const uint8_t* data, uint32_t size) override;
  bool read(uint32_t offset, uint8_t* data, uint32_t size) override;

 protected:
  ~MemoryFlash() = default;
  // Called after every change with the range that changed: a file behind the memory takes it here.
  // False when that failed; the memory must then show what the file holds, since a commit would
  // trust it.
  virtual bool persist(uint32_t offset, uint32_t size);
  uint8_t* storage() { return storage_; }

 private:
  bool inside(uint32_t offset, uint32_t size, uint32_t unit) const;

  uint8_t* storage_;
  uint32_t storage_bytes_;
  uint32_t erase_bytes_;
  uint32_t program_bytes_;
};

}  // namespace tbft
