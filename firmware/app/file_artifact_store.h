// The artifact's place on an emulated board: memory, with a file of the computer behind it when one
// is named, so that a board that is started again still has it.
#pragma once

#include <cstring>

#include "hal_qemu/semihosting.h"
#include "wire/artifact_store.h"

namespace tbft {

class FileArtifactStore final : public wire::ArtifactStore {
 public:
  // Aligned to 16 bytes.
  explicit FileArtifactStore(Span<uint8_t> memory) : memory_(memory) {}

  // Bytes read from the file, 0 where there is none yet; −1 when it does not fit or cannot be read.
  // What comes over the port goes into it.
  int32_t open_file(const char* path) {
    path_ = path;
    file_ = semihosting::open(path, semihosting::Mode::kUpdate);
    if (file_ < 0) return 0;
    const int32_t size = semihosting::size(file_);
    if (size < 0 || static_cast<size_t>(size) > memory_.size() || !semihosting::seek(file_, 0)) {
      return -1;
    }
    return semihosting::read(file_, memory_.data(), static_cast<uint32_t>(size)) == size ? size
                                                                                         : -1;
  }

  uint32_t capacity() const override { return static_cast<uint32_t>(memory_.size()); }
  bool begin(uint32_t total) override {
    if (total > memory_.size()) return false;
    if (path_ == nullptr) return true;
    if (file_ >= 0) semihosting::close(file_);
    file_ = semihosting::open(path_, semihosting::Mode::kCreate);
    return file_ >= 0;
  }
  bool write(uint32_t offset, Span<const uint8_t> data) override {
    if (offset > memory_.size() || data.size() > memory_.size() - offset) return false;
    if (data.empty()) return true;
    memcpy(memory_.data() + offset, data.data(), data.size());
    return path_ == nullptr ||
           (semihosting::seek(file_, offset) &&
            semihosting::write(file_, data.data(), static_cast<uint32_t>(data.size())));
  }
  const uint8_t* data() const override { return memory_.data(); }

 private:
  Span<uint8_t> memory_;
  const char* path_ = nullptr;
  int32_t file_ = -1;
};

}  // namespace tbft
