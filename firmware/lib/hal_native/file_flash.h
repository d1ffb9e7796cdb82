// NOR flash played in memory, with a file behind it where it shall outlive the process.
#pragma once

#include "hal_memory/memory_flash.h"

namespace tbft {

class FileFlash final : public MemoryFlash {
 public:
  using MemoryFlash::MemoryFlash;

  // Reads the file if there is one, and from now on writes every change to it at once. False when
  // the file cannot be opened, read or made; the flash then works without it. A file of another
  // size is extended with erased bytes or read in part.
  bool open_file(const char* path);
  void close_file();

 private:
  bool persist(uint32_t offset, uint32_t size) override;

  int file_ = -1;
};

}  // namespace tbft
