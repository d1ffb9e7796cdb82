// Trained weights in flash: two alternating slots, so that power may fail at any write
// (docs/checkpoint.md).
#pragma once

#include <cstdint>

#include "hal/flash.h"
#include "runtime/engine.h"
#include "runtime/phase.h"
#include "runtime/status.h"

namespace tbft {

class Checkpoint {
 public:
  static constexpr uint32_t kHeaderBytes = 256;

  // `listener` may be null.
  Checkpoint(Flash* flash, PhaseListener* listener) : flash_(flash), listener_(listener) {}

  // Writes the engine's trained weights, shift states and step counter over the older slot. On
  // failure the newest slot is as it was. A slot that cannot be read is written over, or erased
  // once the other one holds the commit. A batch in progress is not part of it, and is
  // dropped with the remainders of earlier steps once the commit is done.
  Status commit(Engine* engine);
  // Brings the newest whole checkpoint of this model back. kNoCheckpoint when there is none; the
  // weights are then untouched. If the flash fails half-way, the engine has its initial weights.
  Status restore(Engine* engine);
  // Erases both slots.
  Status clear();

  // Of the checkpoint last committed or restored; 0 before.
  uint32_t sequence() const { return sequence_; }
  // Flash area that this engine's model needs on this flash; more than 32 bits can mean "does not
  // fit".
  uint64_t needed_bytes(Engine* engine) const;

 private:
  static constexpr uint32_t kSlots = 2;

  struct Header {
    uint32_t version = 0;
    uint32_t sequence = 0;
    uint32_t payload_bytes = 0;
    uint32_t payload_crc = 0;
    uint32_t step = 0;
  };

  uint32_t slot_bytes() const;
  bool geometry_fits(Engine* engine) const;
  // The slot's header if slot and payload are whole and of this model.
  Status read_slot(Engine* engine, uint32_t slot, Header* header, bool* whole);
  // The newest whole slot, and which slots could be read at all.
  Status newest(Engine* engine, uint32_t* slot, Header* header, bool* found, bool readable[kSlots]);
  Status payload_crc(uint32_t slot, uint32_t bytes, uint32_t* crc);
  Status write_payload(Engine* engine, uint32_t slot, Header* header);
  Status write_header(Engine* engine, uint32_t slot, const Header& header);
  Status load_payload(Engine* engine, uint32_t slot);

  Flash* flash_;
  PhaseListener* listener_;
  uint32_t sequence_ = 0;
  uint8_t buffer_[kHeaderBytes];
};

}  // namespace tbft
