// NOR flash played in memory, with a file of the computer behind it, so that it outlives the
// emulator.
#pragma once

#include "hal_memory/memory_flash.h"

namespace tbft {

class QemuFlash final : public MemoryFlash {
 public:
  // Exit status of the emulator at a power cut that was asked for.
  static constexpr int kPowerCutStatus = 75;

  using MemoryFlash::MemoryFlash;

  // Reads the file, or makes it, and from now on writes every change to it at once. False when that
  // fails. A file of another size is extended with erased bytes or read in part.
  bool open_file(const char* path);
  // Plays a power cut at the operation of this number, from 1 (0: never): half of it is done, then
  // the emulator ends.
  void cut_power_at(uint32_t operation) { cut_at_ = operation; }

 private:
  bool persist(uint32_t offset, uint32_t size) override;
  bool write_file(uint32_t offset, uint32_t size);

  int32_t file_ = -1;
  uint32_t operations_ = 0;
  uint32_t cut_at_ = 0;
};

}  // namespace tbft
