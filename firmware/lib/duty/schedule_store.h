// The schedule and whether the board works by it, in flash: two alternating slots, so that power
// may fail at any write (docs/duty.md).
#pragma once

#include <cstdint>

#include "duty/schedule.h"
#include "hal/flash.h"
#include "runtime/status.h"

namespace tbft {
namespace duty {

struct Settings {
  static constexpr uint32_t kModelBytes = 8;

  Schedule schedule;
  bool running = false;
  uint32_t start_s = 0;  // seconds from midnight of day 0; the entries' times count from here
  uint32_t until_s = 0;  // stops at this time; 0: never
  uint32_t seed = 0;
  uint8_t model[kModelBytes] = {};  // of the model hash of the network it was started with
};

class ScheduleStore {
 public:
  static constexpr uint32_t kSlotBytes = 512;

  explicit ScheduleStore(Flash* flash) : flash_(flash) {}

  // The newest whole slot. kNoSchedule when there is none, kFlashRead when there may be one that
  // cannot be read; `settings` is then untouched.
  Status load(Settings* settings);
  // Writes over the older slot; on failure the newest is as it was. A slot that cannot be read is
  // written over, or erased once the other one holds the settings.
  Status save(const Settings& settings);
  // Of the settings last saved or loaded; 0 before.
  uint32_t sequence() const { return sequence_; }

 private:
  static constexpr uint32_t kSlots = 2;

  uint32_t slot_bytes() const;
  bool geometry_fits() const;
  // Whether the slot holds whole and valid settings.
  Status read_slot(uint32_t slot, uint32_t* sequence, Settings* settings, bool* whole);
  Status newest(uint32_t* slot, uint32_t* sequence, Settings* settings, bool* found,
                bool readable[kSlots]);
  void encode(const Settings& settings, uint32_t sequence);

  Flash* flash_;
  uint32_t sequence_ = 0;
  uint8_t buffer_[kSlotBytes];
};

}  // namespace duty
}  // namespace tbft
