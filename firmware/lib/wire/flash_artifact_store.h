// An artifact store in flash that is readable in place.
#pragma once

#include "hal/flash.h"
#include "wire/artifact_store.h"

namespace tbft {
namespace wire {

class FlashArtifactStore final : public ArtifactStore {
 public:
  // `mapped`: where the flash can be read in place, aligned to 16.
  FlashArtifactStore(Flash& flash, const uint8_t* mapped) : flash_(flash), mapped_(mapped) {}

  // Bytes of the artifact that is there since before the start, by its header; 0 without one. An
  // upload that was cut short is found out by the artifact's CRC, which the loader checks.
  uint32_t stored() const;

  uint32_t capacity() const override { return mapped_ != nullptr ? flash_.size_bytes() : 0; }
  // Erases as far as the header, so that the old artifact is gone; the rest just ahead of the
  // bytes that come, so that no request takes long.
  bool begin(uint32_t total) override;
  bool write(uint32_t offset, Span<const uint8_t> data) override;
  const uint8_t* data() const override { return mapped_; }

 private:
  static constexpr uint32_t kTailBytes = 256;
  // Erased at a time: the largest piece that serial flash erases with one command, which is several
  // times faster than its 16 sectors.
  static constexpr uint32_t kEraseAhead = 64U << 10;

  bool erase_to(uint32_t end);
  bool program_tail(bool all);

  Flash& flash_;
  const uint8_t* mapped_;
  uint32_t total_ = 0;
  uint32_t received_ = 0;
  uint32_t erased_ = 0;      // bytes from the start
  uint32_t programmed_ = 0;  // bytes from the start
  // Bytes that do not fill a program unit yet.
  uint32_t tail_bytes_ = 0;
  uint8_t tail_[kTailBytes];
};

}  // namespace wire
}  // namespace tbft
