#include "hal_native/memory_flash.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
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

bool MemoryFlash::open_file(const char* path) {
  close_file();
  const int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0) return false;
  memset(storage_, 0xff, storage_bytes_);
  uint32_t done = 0;
  while (done < storage_bytes_) {
    const ssize_t n = pread(file, storage_ + done, storage_bytes_ - done, done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      close(file);
      return false;
    }
    if (n == 0) break;
    done += static_cast<uint32_t>(n);
  }
  file_ = file;
  if (done == storage_bytes_ || write_through(done, storage_bytes_ - done)) return true;
  close_file();
  return false;
}

void MemoryFlash::close_file() {
  if (file_ >= 0) close(file_);
  file_ = -1;
}

bool MemoryFlash::inside(uint32_t offset, uint32_t size, uint32_t unit) const {
  return offset % unit == 0 && size % unit == 0 && uint64_t{offset} + size <= storage_bytes_;
}

bool MemoryFlash::write_through(uint32_t offset, uint32_t size) {
  if (file_ < 0) return true;
  while (size != 0) {
    const ssize_t n = pwrite(file_, storage_ + offset, size, offset);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      // The memory must not show what the file did not take: a commit would trust it.
      const ssize_t back = pread(file_, storage_ + offset, size, offset);
      (void)back;
      return false;
    }
    offset += static_cast<uint32_t>(n);
    size -= static_cast<uint32_t>(n);
  }
  return true;
}

bool MemoryFlash::erase(uint32_t offset, uint32_t size) {
  if (!inside(offset, size, erase_bytes_)) return false;
  memset(storage_ + offset, 0xff, size);
  return write_through(offset, size);
}

bool MemoryFlash::program(uint32_t offset, const uint8_t* data, uint32_t size) {
  if (!inside(offset, size, program_bytes_)) return false;
  // Programming only clears bits: a write to flash that is not erased shows at once.
  for (uint32_t i = 0; i < size; ++i) storage_[offset + i] &= data[i];
  return write_through(offset, size);
}

bool MemoryFlash::read(uint32_t offset, uint8_t* data, uint32_t size) {
  if (!inside(offset, size, 1)) return false;
  memcpy(data, storage_ + offset, size);
  return true;
}

}  // namespace tbft
