// The table that a board works by when it is on its own: what to do how often, and under which
// conditions (docs/duty.md).
#pragma once

#include <cstdint>

#include "runtime/span.h"
#include "runtime/status.h"
#include "runtime/trainer.h"

namespace tbft {
namespace duty {

constexpr uint32_t kMaxEntries = 8;
constexpr uint32_t kEntryBytes = 40;
constexpr uint32_t kMaxPeriodS = 31 * 86400;

enum class Action : uint8_t {
  kSample = 1,  // take a sample, classify it, keep it
  kTune = 2,    // fine-tune on labelled samples and commit the weights
};

// What must hold besides the entry's own fields. Numbers from 1 on are for conditions to come, such
// as a shift that the board detects by itself; a table that has one is refused until then.
enum class ConditionKind : uint8_t { kNone = 0 };

struct Entry {
  Action action = Action::kSample;
  ConditionKind condition = ConditionKind::kNone;
  uint32_t period_s = 0;        // 1 … kMaxPeriodS
  uint32_t first_s = 0;         // seconds after the start of the first time
  uint16_t quiet_from_min = 0;  // minutes of the day between which nothing is done,
  uint16_t quiet_to_min = 0;    // over midnight too; equal: no such hours
  uint16_t min_battery_mv = 0;  // 0: whatever the battery
  uint8_t min_battery_percent = 0;
  // kTune only, else all 0
  uint16_t min_labelled = 0;  // labelled samples that no committed fine-tuning has used, at least 1
  uint16_t max_samples = 0;   // at most so many of them, oldest label first; at least min_labelled
  uint16_t rehearse = 0;      // used samples to train on along with them, newest label first
  uint16_t epochs = 0;        // 1 … 1000
  uint16_t batch = 0;         // 1 … 4096 samples per update
  LearningRate rate;          // for the mean gradient of a batch; not 0
};

struct Schedule {
  uint16_t listen_ms = 0;  // how long the board stays awake for its port after each wake
  uint32_t count = 0;      // 1 … kMaxEntries
  Entry entries[kMaxEntries];
};

// Reads and validates a table of kEntryBytes per entry; on failure `schedule` is as it was and
// `record` of the status the entry's number.
Status parse_entries(Span<const uint8_t> bytes, Schedule* schedule);
// The reverse; `out` has room for schedule.count entries.
void write_entries(const Schedule& schedule, uint8_t* out);

// Whether the minute of the day at `time_s` (from midnight of day 0) is within the quiet hours.
bool is_quiet(const Entry& entry, uint32_t time_s);

// rate / samples, normalised, rounded half up; samples 1 … 4096.
LearningRate divided(LearningRate rate, uint32_t samples);

// Shuffles an order: Fisher-Yates from the top, each exchange by its own hash of `key` and position
// (docs/duty.md).
uint32_t shuffle_key(uint32_t seed, uint32_t tuning, uint32_t epoch);
// The place in [0, top] that the item at `top` changes with.
uint32_t shuffle_place(uint32_t key, uint32_t top);

}  // namespace duty
}  // namespace tbft
