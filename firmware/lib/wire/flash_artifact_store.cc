#include "wire/flash_artifact_store.h"

#include "runtime/bytes.h"

namespace tbft {
namespace wire {
namespace {

constexpr uint8_t kMagic[] = {'T', 'B', 'F', 'A'};  // docs/artifact.md
constexpr uint32_t kTotalAt = 8;
constexpr uint32_t kHeaderBytes = 128;
constexpr uint8_t kErased = 0xff;

}  // namespace

uint32_t FlashArtifactStore::stored() const {
  if (capacity() < kHeaderBytes || memcmp(mapped_, kMagic, sizeof kMagic) != 0) {
    return 0;
  }
  const uint32_t total = load_u32(mapped_ + kTotalAt);
  return total >= kHeaderBytes && total <= capacity() ? total : 0;
}

bool FlashArtifactStore::erase_to(uint32_t end) {
  while (erased_ < end) {
    const uint32_t left = flash_.size_bytes() - erased_;
    const uint32_t piece = left < kEraseAhead ? left : kEraseAhead;
    if (piece == 0 || !flash_.erase(erased_, piece)) {
      return false;
    }
    erased_ += piece;
  }
  return true;
}

bool FlashArtifactStore::begin(uint32_t total) {
  if (total > capacity() || flash_.program_bytes() > kTailBytes) {
    return false;
  }
  total_ = 0;
  erased_ = 0;
  programmed_ = 0;
  received_ = 0;
  tail_bytes_ = 0;
  if (!erase_to(kHeaderBytes)) {
    return false;
  }
  total_ = total;
  return true;
}

// Writes the whole program units of the tail, or all of it, filled up with erased bytes.
bool FlashArtifactStore::program_tail(bool all) {
  const uint32_t unit = flash_.program_bytes();
  uint32_t size = tail_bytes_ / unit * unit;
  if (all && size != tail_bytes_) {
    size += unit;
    memset(tail_ + tail_bytes_, kErased, size - tail_bytes_);
    tail_bytes_ = size;
  }
  if (size == 0) {
    return true;
  }
  if (!erase_to(programmed_ + size) || !flash_.program(programmed_, tail_, size)) {
    return false;
  }
  programmed_ += size;
  tail_bytes_ -= size;
  memmove(tail_, tail_ + size, tail_bytes_);
  return true;
}

bool FlashArtifactStore::write(uint32_t offset, Span<const uint8_t> data) {
  if (offset != received_ || offset > total_ || data.size() > total_ - offset) {
    return false;
  }
  const uint8_t* next = data.data();
  auto left = static_cast<uint32_t>(data.size());
  while (left != 0) {
    const uint32_t room = kTailBytes - tail_bytes_;
    const uint32_t piece = left < room ? left : room;
    memcpy(tail_ + tail_bytes_, next, piece);
    tail_bytes_ += piece;
    next += piece;
    left -= piece;
    if (tail_bytes_ == kTailBytes && !program_tail(false)) {
      total_ = 0;  // part of it is in the tail: the upload has to start over
      return false;
    }
  }
  received_ += static_cast<uint32_t>(data.size());
  if (!program_tail(received_ == total_)) {
    total_ = 0;
    return false;
  }
  return true;
}

}  // namespace wire
}  // namespace tbft
