#include "hal_native/fd_stream.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>

namespace tbft {

int32_t FdStream::read(uint8_t* data, size_t capacity, uint32_t timeout_ms) {
  constexpr uint32_t kMaxWait = 0x7fffffff;
  constexpr size_t kMaxRead = 0x7fffffff;
  pollfd waiting = {read_fd_, POLLIN, 0};
  const int ready =
      poll(&waiting, 1, static_cast<int>(timeout_ms < kMaxWait ? timeout_ms : kMaxWait));
  if (ready < 0) return errno == EINTR ? 0 : kClosed;
  if (ready == 0) return 0;
  const ssize_t n = ::read(read_fd_, data, capacity < kMaxRead ? capacity : kMaxRead);
  if (n > 0) return static_cast<int32_t>(n);
  return n < 0 && (errno == EINTR || errno == EAGAIN) ? 0 : kClosed;
}

bool FdStream::write(const uint8_t* data, size_t size) {
  while (size != 0) {
    const ssize_t n = ::write(write_fd_, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    data += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

}  // namespace tbft
