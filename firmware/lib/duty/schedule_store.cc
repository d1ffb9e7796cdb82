#include "duty/schedule_store.h"

#include <cstring>

#include "runtime/bytes.h"
#include "runtime/crc32.h"

namespace tbft {
namespace duty {
namespace {

constexpr uint32_t kVersion = 1;
constexpr uint32_t kFlagRunning = 1;
constexpr uint32_t kEntriesAt = 40;
constexpr uint32_t kCrcAt = ScheduleStore::kSlotBytes - 4;

static_assert(kEntriesAt + kMaxEntries * kEntryBytes <= kCrcAt, "the entries fit a slot");

}  // namespace

uint32_t ScheduleStore::slot_bytes() const {
  const uint32_t unit = flash_->erase_bytes();
  return unit == 0 ? 0 : flash_->size_bytes() / kSlots / unit * unit;
}

bool ScheduleStore::geometry_fits() const {
  const uint32_t unit = flash_->program_bytes();
  return unit != 0 && kSlotBytes % unit == 0 && slot_bytes() >= kSlotBytes;
}

Status ScheduleStore::read_slot(uint32_t slot, uint32_t* sequence, Settings* settings,
                                bool* whole) {
  *whole = false;
  if (!flash_->read(slot * slot_bytes(), buffer_, kSlotBytes)) return StatusCode::kFlashRead;
  if (memcmp(buffer_, "TBFD", 4) != 0 || load_u16(buffer_ + 4) != kVersion ||
      load_u32(buffer_ + kCrcAt) != crc32(0, buffer_, kCrcAt)) {
    return {};
  }
  const uint32_t count = load_u16(buffer_ + 30);
  if (count > kMaxEntries) return {};
  Settings found;
  if (!parse_entries({buffer_ + kEntriesAt, size_t{count} * kEntryBytes}, &found.schedule).ok()) {
    return {};
  }
  *sequence = load_u32(buffer_ + 8);
  found.running = (load_u32(buffer_ + 12) & kFlagRunning) != 0;
  found.start_s = load_u32(buffer_ + 16);
  found.until_s = load_u32(buffer_ + 20);
  found.seed = load_u32(buffer_ + 24);
  found.schedule.listen_ms = static_cast<uint16_t>(load_u16(buffer_ + 28));
  memcpy(found.model, buffer_ + 32, sizeof found.model);
  *settings = found;
  *whole = true;
  return {};
}

// A slot that cannot be read is an error only when the other one does not help.
Status ScheduleStore::newest(uint32_t* slot, uint32_t* sequence, Settings* settings, bool* found,
                             bool readable[kSlots]) {
  *found = false;
  Status failure;
  for (uint32_t i = 0; i < kSlots; ++i) {
    uint32_t candidate = 0;
    Settings held;
    bool whole = false;
    const Status status = read_slot(i, &candidate, &held, &whole);
    readable[i] = status.ok();
    if (!status.ok()) failure = status;
    // Serial number arithmetic: the counter may wrap.
    if (whole && (!*found || static_cast<int32_t>(candidate - *sequence) > 0)) {
      *slot = i;
      *sequence = candidate;
      *settings = held;
      *found = true;
    }
  }
  return *found ? Status() : failure;
}

void ScheduleStore::encode(const Settings& settings, uint32_t sequence) {
  memset(buffer_, 0xff, sizeof buffer_);
  memcpy(buffer_, "TBFD", 4);
  store_u16(buffer_ + 4, kVersion);
  store_u16(buffer_ + 6, kSlotBytes);
  store_u32(buffer_ + 8, sequence);
  store_u32(buffer_ + 12, settings.running ? kFlagRunning : 0);
  store_u32(buffer_ + 16, settings.start_s);
  store_u32(buffer_ + 20, settings.until_s);
  store_u32(buffer_ + 24, settings.seed);
  store_u16(buffer_ + 28, settings.schedule.listen_ms);
  store_u16(buffer_ + 30, settings.schedule.count);
  memcpy(buffer_ + 32, settings.model, sizeof settings.model);
  write_entries(settings.schedule, buffer_ + kEntriesAt);
  store_u32(buffer_ + kCrcAt, crc32(0, buffer_, kCrcAt));
}

Status ScheduleStore::load(Settings* settings) {
  if (!geometry_fits()) return StatusCode::kFlashGeometry;
  uint32_t slot = 0;
  uint32_t sequence = 0;
  Settings held;
  bool found = false;
  bool readable[kSlots] = {};
  const Status status = newest(&slot, &sequence, &held, &found, readable);
  if (!status.ok()) return status;
  if (!found) return StatusCode::kNoSchedule;
  *settings = held;
  sequence_ = sequence;
  return {};
}

Status ScheduleStore::save(const Settings& settings) {
  if (!geometry_fits()) return StatusCode::kFlashGeometry;
  uint32_t slot = 0;
  uint32_t sequence = 0;
  Settings held;
  bool found = false;
  bool readable[kSlots] = {};
  Status status = newest(&slot, &sequence, &held, &found, readable);
  if (!readable[0] && !readable[1]) return status;
  slot = found ? 1 - slot : (readable[0] ? 0 : 1);
  // As with weights: should the other slot become readable again, its number might be the higher.
  const bool erase_other = !found && !readable[1 - slot];
  sequence = found ? sequence + 1 : 1;
  const uint32_t unit = flash_->erase_bytes();
  const uint32_t used = (kSlotBytes + unit - 1) / unit * unit;
  if (!flash_->erase(slot * slot_bytes(), used)) return StatusCode::kFlashErase;
  encode(settings, sequence);
  if (!flash_->program(slot * slot_bytes(), buffer_, kSlotBytes)) return StatusCode::kFlashProgram;
  uint32_t written = 0;
  bool whole = false;
  status = read_slot(slot, &written, &held, &whole);
  if (!status.ok()) return status;
  if (!whole || written != sequence) return StatusCode::kFlashVerify;
  if (erase_other && !flash_->erase((1 - slot) * slot_bytes(), used)) {
    return StatusCode::kFlashErase;
  }
  sequence_ = sequence;
  return {};
}

}  // namespace duty
}  // namespace tbft
