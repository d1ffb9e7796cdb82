// A byte stream over two file descriptors: standard input and output of the native board.
#pragma once

#include "hal/byte_stream.h"

namespace tbft {

class FdStream final : public ByteStream {
 public:
  // The descriptors stay the caller's and are in blocking mode. Writing to a closed pipe is
  // reported as false only where SIGPIPE is ignored.
  FdStream(int read_fd, int write_fd) : read_fd_(read_fd), write_fd_(write_fd) {}

  int32_t read(uint8_t* data, size_t capacity, uint32_t timeout_ms) override;
  bool write(const uint8_t* data, size_t size) override;

 private:
  int read_fd_;
  int write_fd_;
};

}  // namespace tbft
