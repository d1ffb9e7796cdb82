// NOR flash played in memory, with a file behind it where it shall outlive the process.
#pragma once

#include "hal/flash.h"

namespace tbft {

class MemoryFlash final : public Flash {
 public:
  // storage_bytes a multiple of erase_bytes, erase_bytes of program_bytes. Starts erased.
  MemoryFlash(uint8_t* storage, uint32_t storage_bytes, uint32_t erase_bytes,
              uint32_t program_bytes);

  // Reads the file if there is one, and from now on writes every change to it at once. False when
  // the file cannot be opened, read or made; the flash then works without it. A file of another
  // size is extended with erased bytes or read in part.
  bool open_file(const char* path);
  void close_file();

  uint32_t size_bytes() const override { return storage_bytes_; }
  uint32_t erase_bytes() const override { return erase_bytes_; }
  uint32_t program_bytes() const override { return program_bytes_; }
  bool erase(uint32_t offset, uint32_t size) override;
  bool program(uint32_t offset, const uint8_t* data, uint32_t size) override;
  bool read(uint32_t offset, uint8_t* data, uint32_t size) override;

 private:
  bool inside(uint32_t offset, uint32_t size, uint32_t unit) const;
  bool write_through(uint32_t offset, uint32_t size);

  uint8_t* storage_;
  uint32_t storage_bytes_;
  uint32_t erase_bytes_;
  uint32_t program_bytes_;
  int file_ = -1;
};

}  // namespace tbft
