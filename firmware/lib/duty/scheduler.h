// Duty-cycled operation (docs/duty.md): wake, take a sample, classify it, keep it, fine-tune when
// enough labels have come and the battery allows, commit, sleep. Works in small steps, so that the
// port is looked at in between.
#pragma once

#include <cstdint>

#include "duty/sample_store.h"
#include "duty/schedule_store.h"
#include "hal/battery.h"
#include "hal/sample_source.h"
#include "hal/sleep.h"
#include "runtime/checkpoint.h"
#include "runtime/engine.h"
#include "runtime/phase.h"
#include "runtime/span.h"
#include "runtime/status.h"

namespace tbft {
namespace duty {

// The numbers go over the wire: append, never renumber.
enum class EventKind : uint8_t {
  kStarted = 1,    // or went on; code: 1 after a restart, 2 after a pause
  kWoke = 2,       // value: seconds slept
  kSample = 3,     // id, code: prediction
  kLabel = 4,      // id, code: label, value: 1 when it was predicted
  kSkipped = 5,    // code: 1 quiet hours, 2 battery
  kTuning = 6,     // id: number of the fine-tuning, value: samples
  kTuned = 7,      // the same, code: percent of the samples right in the last epoch
  kCommitted = 8,  // id: number of the fine-tuning, value: sequence number of the checkpoint
  kDropped = 9,    // a fine-tuning that was cut off or not committed: the weights are the old ones
  kFailed = 10,    // code: StatusCode, value: its record
  kStopped = 11,   // code: 1 paused, 2 its time is over
};

struct Event {
  EventKind kind = EventKind::kStarted;
  uint8_t entry = 0;
  uint16_t code = 0;
  uint32_t time_s = 0;
  uint32_t id = 0;
  uint32_t value = 0;
  uint16_t battery_mv = 0;
};

class EventListener {
 public:
  virtual void on_event(const Event& event) = 0;
  // For people: `what` was the matter, and `why`, which may be ok. Fragments without full stop.
  virtual void on_text(bool failure, const char* what, Status why) = 0;

 protected:
  ~EventListener() = default;
};

enum class Mode : uint8_t {
  kStopped = 0,
  kRunning = 1,
  kPaused = 2,  // goes on with resume(), or by itself after a restart
};

// One sample of a fine-tuning.
struct TuneItem {
  uint32_t id = 0;
  uint16_t slot = 0;  // of the sample cache
  uint16_t label = 0;
};

struct Facts {
  Mode mode = Mode::kStopped;
  bool tuning = false;
  uint32_t time_s = 0;
  uint32_t next_s = 0;  // when the next entry is due
  uint32_t wakes = 0;
  uint32_t unlabelled = 0;
  uint32_t new_labelled = 0;  // labelled, and not used by a committed fine-tuning
  BatteryState battery;
  uint32_t skipped = 0;  // since the board's start, like those below
  uint32_t failures = 0;
  Status last_failure;
};

class Scheduler {
 public:
  struct Parts {
    Engine& engine;
    Checkpoint& checkpoint;
    ScheduleStore& schedule;
    SampleStore& store;
    SampleSource& source;
    Battery* battery;  // may be null
    Sleep& sleep;
    PhaseListener* phases;  // may be null
  };

  // `input` is room for one sample; `items` limits the samples of one fine-tuning.
  Scheduler(const Parts& parts, Span<int8_t> input, Span<TuneItem> items)
      : parts_(parts), input_(input), items_(items) {}

  void set_listener(EventListener* listener) { listener_ = listener; }

  // After a restart, with the artifact loaded: goes on where flash says that the board was on duty.
  // Not being on duty is no error.
  Status boot();
  // Writes a schedule to flash; refused while it runs.
  Status write_schedule(const Schedule& schedule);
  Status read_schedule(Settings* settings) { return parts_.schedule.load(settings); }
  // Begins: `time_s` seconds from midnight of day 0, stops at `until_s` (0: never). `empty`: with
  // an empty sample store; else what is stored stays, and what is labelled and new counts.
  Status start(uint32_t time_s, uint32_t until_s, uint32_t seed, bool empty);
  // Goes on after a pause.
  Status resume();
  // Drops what it is at: an unfinished fine-tuning goes back to the last commit.
  void pause();
  // The same, and stays so after a restart.
  Status stop();

  // Reads the sample store where that was not done yet.
  Status open();
  // A label from elsewhere; a label that it has already is no error.
  Status label(uint32_t id, uint16_t label);

  bool active() const { return mode_ == Mode::kRunning; }
  bool paused() const { return mode_ == Mode::kPaused; }
  uint32_t tune_limit() const { return static_cast<uint32_t>(items_.size()); }
  // How long the port may be waited for before the next step.
  uint32_t wait_ms();
  // Does not sleep for so long from now on, whatever the schedule says: after a reset by hand, say,
  // so that a board that sleeps almost always can be reached.
  void stay_awake(uint32_t ms) { stay_until_us_ = parts_.sleep.now_us() + uint64_t{1000} * ms; }
  // The host was heard: the board stays awake for it.
  void heard() { awake_since_us_ = parts_.sleep.now_us(); }
  // Does the next bit of work: at most one pass through the network, one commit, or one sleep.
  void step();

  Facts facts();
  const SampleStore& store() const { return parts_.store; }
  SampleStore& store() { return parts_.store; }
  const ScheduleStore& schedule_store() const { return parts_.schedule; }

 private:
  enum class Activity : uint8_t { kPlan, kLoad, kTrain, kCommit, kSleep };

  bool store_fits() const;
  Status check(const Schedule& schedule) const;
  void begin();
  Status restore_weights();
  bool settle_tuning();
  void set_time(uint32_t time_s);
  uint32_t time_s();
  uint32_t due(uint32_t entry) const;
  uint32_t next_due() const;
  uint32_t latest(uint32_t entry, uint32_t time_s) const;
  uint8_t settled(uint32_t time_s) const;
  void restore_done();
  bool tuning() const;

  void plan();
  bool take_labels();
  bool allowed(uint32_t entry);
  void sample(uint32_t entry, uint32_t due_s);
  bool begin_tuning(uint32_t entry, uint32_t due_s);
  void load_item();
  void train_item();
  void begin_epoch();
  void commit();
  void drop_tuning(const char* what, Status why);
  void sleep();
  void finish();

  Record stamp(RecordType type);
  Status append(const Record& record, Span<const int8_t> payload);
  Status append_label(const StoredSample& stored, uint16_t label);
  uint16_t battery_mv();
  Event event(EventKind kind);
  void tell(const Event& event);
  void fail(const char* what, Status why);

  Parts parts_;
  Span<int8_t> input_;
  Span<TuneItem> items_;
  EventListener* listener_ = nullptr;

  Mode mode_ = Mode::kStopped;
  Activity activity_ = Activity::kPlan;
  Settings settings_;
  int64_t offset_s_ = 0;  // duty time - clock
  uint32_t wakes_ = 0;
  uint32_t done_[kMaxEntries] = {};  // per entry: last time of the schedule dealt with, plus 1
  bool labels_taken_ = false;        // since the last wake
  uint64_t awake_since_us_ = 0;
  uint64_t stay_until_us_ = 0;
  uint32_t slept_from_s_ = 0;

  // fine-tuning in progress
  uint32_t entry_ = 0;
  uint32_t due_s_ = 0;
  uint32_t done_before_ = 0;
  uint32_t count_ = 0;
  uint32_t at_ = 0;
  uint32_t epoch_ = 0;
  uint32_t right_ = 0;
  uint32_t highest_label_ = 0;
  bool cached_ = false;

  uint32_t skipped_ = 0;
  uint32_t failures_ = 0;
  Status last_failure_;
};

}  // namespace duty
}  // namespace tbft
