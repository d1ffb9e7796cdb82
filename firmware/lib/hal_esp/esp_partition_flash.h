// A partition of the chip's flash, found by its label, and where wanted readable in place.
#pragma once

#include <esp_partition.h>

#include "hal/flash.h"

namespace tbft {

class EspPartitionFlash final : public Flash {
 public:
  // Labels of the partition tables in firmware/platformio/partitions/.
  static constexpr char kArtifact[] = "artifact";
  static constexpr char kWeights[] = "weights";  // both checkpoint slots
  static constexpr char kSchedule[] = "schedule";
  static constexpr char kSamples[] = "samples";
  static constexpr char kCache[] = "cache";

  // Once, before anything else. False when the partition table has no data partition of this label.
  bool open(const char* label);
  // Makes all of it readable in place; the address is a multiple of 16 because the partitions begin
  // at multiples of the MMU's page, 64 KiB. nullptr when the chip's address space has no room.
  const uint8_t* map();

  uint32_t size_bytes() const override;
  uint32_t erase_bytes() const override;
  uint32_t program_bytes() const override;
  bool erase(uint32_t offset, uint32_t size) override;
  bool program(uint32_t offset, const uint8_t* data, uint32_t size) override;
  bool read(uint32_t offset, uint8_t* data, uint32_t size) override;

 private:
  const esp_partition_t* partition_ = nullptr;
};

}  // namespace tbft
