#include "hal_native/file_flash.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace tbft {

bool FileFlash::open_file(const char* path) {
  close_file();
  const int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0) return false;
  memset(storage(), 0xff, size_bytes());
  uint32_t done = 0;
  while (done < size_bytes()) {
    const ssize_t n = pread(file, storage() + done, size_bytes() - done, done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      close(file);
      return false;
    }
    if (n == 0) break;
    done += static_cast<uint32_t>(n);
  }
  file_ = file;
  if (done == size_bytes() || persist(done, size_bytes() - done)) return true;
  close_file();
  return false;
}

void FileFlash::close_file() {
  if (file_ >= 0) close(file_);
  file_ = -1;
}

bool FileFlash::persist(uint32_t offset, uint32_t size) {
  if (file_ < 0) return true;
  while (size != 0) {
    const ssize_t n = pwrite(file_, storage() + offset, size, offset);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      // The memory must not show what the file did not take: a commit would trust it.
      const ssize_t back = pread(file_, storage() + offset, size, offset);
      (void)back;
      return false;
    }
    offset += static_cast<uint32_t>(n);
    size -= static_cast<uint32_t>(n);
  }
  return true;
}

}  // namespace tbft
