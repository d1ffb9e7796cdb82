#include "hal_memory/memory_flash.h"

#include <cstring>

namespace tbft {

MemoryFlash::MemoryFlash(uint8_t* storage, uint32_t storage_bytes, uint32_t erase_bytes,
                         uint32_t program_bytes)
    : storage_(storage),
      storage_bytes_(storage_bytes),
      erase_bytes_(erase_bytes),
      program_bytes_(program_bytes) {
  memset(storage_, 0xff, storage_bytes_);
}

bool MemoryFlash::inside(uint32_t offset, uint32_t size, uint32_t unit) const {
  return offset % unit == 0 && size % unit == 0 && uint64_t{offset} + size <= storage_bytes_;
}

bool MemoryFlash::erase(uint32_t offset, uint32_t size) {
  if (!inside(offset, size, erase_bytes_)) return false;
  memset(storage_ + offset, 0xff, size);
  return persist(offset, size);
}

bool MemoryFlash::program(uint32_t offset, const uint8_t* data, uint32_t size) {
  if (!inside(offset, size, program_bytes_)) return false;
  // Programming only clears bits: a write to flash that is not erased shows at once.
  for (uint32_t i = 0; i < size; ++i) storage_[offset + i] &= data[i];
  return persist(offset, size);
}

bool MemoryFlash::read(uint32_t offset, uint8_t* data, uint32_t size) {
  if (!inside(offset, size, 1)) return false;
  memcpy(data, storage_ + offset, size);
  return true;
}

bool MemoryFlash::persist(uint32_t, uint32_t) { return true; }

}  // namespace tbft
