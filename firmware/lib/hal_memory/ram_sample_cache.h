// Sample cache in memory that the caller gives.
#pragma once

#include "hal/sample_cache.h"

namespace tbft {

class RamSampleCache final : public SampleCache {
 public:
  RamSampleCache(uint8_t* storage, uint64_t storage_bytes);

  bool configure(uint32_t sample_bytes) override;
  uint32_t slots() const override { return slots_; }
  bool put(uint32_t slot, const uint8_t* sample, uint16_t label) override;
  bool has(uint32_t slot) const override;
  bool get(uint32_t slot, uint8_t* sample, uint16_t* label) override;

 private:
  // Record: u16 label, u8 1 when filled, u8 unused, the sample.
  static constexpr uint32_t kHeaderBytes = 4;

  uint8_t* record(uint32_t slot) const { return storage_ + uint64_t{slot} * record_bytes_; }

  uint8_t* storage_;
  uint64_t storage_bytes_;
  uint64_t record_bytes_ = 0;
  uint32_t sample_bytes_ = 0;
  uint32_t slots_ = 0;
  uint32_t used_ = 0;  // records from here on were never written, so that a large storage costs no
                       // pages until it is needed
};

}  // namespace tbft
