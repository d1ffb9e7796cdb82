// Sample cache in flash, for boards whose memory is too small for one. What it holds is forgotten
// at a reset.
#pragma once

#include "hal/flash.h"
#include "hal/sample_cache.h"

namespace tbft {

class FlashSampleCache final : public SampleCache {
 public:
  // `used` has one bit per slot that there can be at most, `used_bytes` of it; `block` is one erase
  // block of the flash for slots that are written again. Both stay the cache's.
  FlashSampleCache(Flash& flash, uint8_t* used, uint32_t used_bytes, uint8_t* block,
                   uint32_t block_bytes)
      : flash_(flash),
        used_(used),
        used_bytes_(used_bytes),
        block_(block),
        block_bytes_(block_bytes) {}

  bool configure(uint32_t sample_bytes) override;
  uint32_t slots() const override { return slots_; }
  // Fills free slots without erasing; a slot that is filled already costs an erased block, and with
  // it the power-cut safety of the others in it (the cache is gone at a reset anyway).
  bool put(uint32_t slot, const uint8_t* sample, uint16_t label) override;
  bool has(uint32_t slot) const override;
  bool get(uint32_t slot, uint8_t* sample, uint16_t* label) override;

 private:
  // Record: the sample, then u16 label; filled up to program units with 0xff. Small records share
  // an erase block, large ones have several of their own.
  static constexpr uint32_t kLabelBytes = 2;
  static constexpr uint32_t kPiece = 64;

  uint32_t offset(uint32_t slot) const;
  bool program(uint32_t at, const uint8_t* sample, uint16_t label);
  bool rewrite(uint32_t slot, const uint8_t* sample, uint16_t label);
  bool neighbours_used(uint32_t slot) const;
  void set_used(uint32_t slot, bool value);

  Flash& flash_;
  uint8_t* used_;
  uint32_t used_bytes_;
  uint8_t* block_;
  uint32_t block_bytes_;
  uint32_t sample_bytes_ = 0;
  uint32_t record_bytes_ = 0;  // with the filling
  uint32_t per_group_ = 0;     // records in a group of erase blocks
  uint32_t group_bytes_ = 0;   // one erase block, or as many as a large record needs
  uint32_t slots_ = 0;
};

}  // namespace tbft
