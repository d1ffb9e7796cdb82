#include "duty/scheduler.h"

#include <cstring>

namespace tbft {
namespace duty {
namespace {

constexpr uint64_t kSecondUs = 1'000'000;
// Longer sleeps are taken in pieces: phase events have 32 bits of microseconds, and the port is
// looked at in between.
constexpr uint32_t kLongestSleepS = 1800;
constexpr uint16_t kAfterRestart = 1;
constexpr uint16_t kAfterPause = 2;
constexpr uint16_t kSkippedQuiet = 1;
constexpr uint16_t kSkippedBattery = 2;
constexpr uint16_t kStoppedPaused = 1;
constexpr uint16_t kStoppedOver = 2;

}  // namespace

// ---- time and the schedule

uint32_t Scheduler::time_s() {
  return static_cast<uint32_t>(offset_s_ + static_cast<int64_t>(parts_.sleep.now_us() / kSecondUs));
}

void Scheduler::set_time(uint32_t time_s) {
  offset_s_ = int64_t{time_s} - static_cast<int64_t>(parts_.sleep.now_us() / kSecondUs);
}

// The entry's next time; one that was missed by whole periods is made up for once.
uint32_t Scheduler::due(uint32_t entry) const {
  const Entry& e = settings_.schedule.entries[entry];
  if (done_[entry] == 0) return settings_.start_s + e.first_s;
  return done_[entry] - 1 + e.period_s;
}

// Plus 1: the entry's latest time up to time_s; 0 before the first.
uint32_t Scheduler::latest(uint32_t entry, uint32_t time_s) const {
  const Entry& e = settings_.schedule.entries[entry];
  const uint64_t first_s = uint64_t{settings_.start_s} + e.first_s;
  if (time_s < first_s) return 0;
  return time_s - static_cast<uint32_t>((time_s - first_s) % e.period_s) + 1;
}

// What Record::settled says. A fine-tuning that goes on is not dealt with.
uint8_t Scheduler::settled(uint32_t time_s) const {
  uint8_t bits = 0;
  for (uint32_t i = 0; i < settings_.schedule.count; ++i) {
    const uint32_t time = latest(i, time_s);
    const uint32_t done = tuning() && i == entry_ ? done_before_ : done_[i];
    if (time != 0 && done >= time) bits = static_cast<uint8_t>(bits | 1U << i);
  }
  return bits;
}

// After a restart: what the log says was done, and what it says was passed over.
void Scheduler::restore_done() {
  const LogState& state = parts_.store.state();
  memcpy(done_, state.done, sizeof done_);
  for (uint32_t i = 0; i < settings_.schedule.count; ++i) {
    const uint32_t time = latest(i, state.time_s);
    if ((state.settled >> i & 1) != 0 && time > done_[i]) done_[i] = time;
  }
}

bool Scheduler::tuning() const {
  return mode_ == Mode::kRunning &&
         (activity_ == Activity::kLoad || activity_ == Activity::kTrain ||
          activity_ == Activity::kCommit);
}

uint32_t Scheduler::next_due() const {
  uint32_t next = UINT32_MAX;
  for (uint32_t i = 0; i < settings_.schedule.count; ++i) {
    if (due(i) < next) next = due(i);
  }
  if (settings_.until_s != 0 && settings_.until_s < next) next = settings_.until_s;
  return next;
}

Status Scheduler::check(const Schedule& schedule) const {
  for (uint32_t i = 0; i < schedule.count; ++i) {
    const Entry& e = schedule.entries[i];
    const bool mv = parts_.battery != nullptr && parts_.battery->knows_mv();
    const bool percent = parts_.battery != nullptr && parts_.battery->knows_percent();
    if ((e.min_battery_mv != 0 && !mv) || (e.min_battery_percent != 0 && !percent)) {
      return {StatusCode::kScheduleBatteryUnknown, i};
    }
    if (e.action != Action::kTune) continue;
    if (parts_.engine.info().trained_tensors == 0) return {StatusCode::kWrongMode, i};
    if (uint64_t{e.max_samples} + e.rehearse > items_.size()) {
      return {StatusCode::kScheduleTraining, i};
    }
  }
  return {};
}

Status Scheduler::write_schedule(const Schedule& schedule) {
  if (mode_ != Mode::kStopped) return StatusCode::kDutyMode;
  Settings settings;
  const Status status = parts_.schedule.load(&settings);
  // A board that cannot read its slots cannot write them either, and says why.
  if (!status.ok() && status.code != StatusCode::kNoSchedule &&
      status.code != StatusCode::kFlashRead) {
    return status;
  }
  settings.schedule = schedule;
  settings.running = false;
  return parts_.schedule.save(settings);
}

// ---- beginning and ending

Status Scheduler::open() {
  if (!parts_.engine.loaded()) return StatusCode::kNotLoaded;
  const uint32_t bytes = parts_.engine.info().input_bytes;
  if (bytes > input_.size()) return StatusCode::kStoreGeometry;
  if (parts_.store.opened() && parts_.store.sample_bytes() == bytes) return {};
  const Status status = parts_.store.open(bytes);
  if (!status.ok()) return status;
  wakes_ = parts_.store.state().wakes;
  set_time(parts_.store.state().time_s);
  return {};
}

// The last committed weights, or the network's own.
Status Scheduler::restore_weights() {
  if (parts_.engine.info().trained_tensors == 0) return {};  // a network that only classifies
  const Status status = parts_.checkpoint.restore(&parts_.engine);
  if (status.code != StatusCode::kNoCheckpoint) return status;
  return parts_.engine.reset_weights();
}

// A fine-tuning whose commit was not seen to end: did it? The weights tell. False when flash
// failed.
bool Scheduler::settle_tuning() {
  const LogState& state = parts_.store.state();
  if (state.pending_number == 0) return true;
  uint8_t hash[32];
  const Status hashed = parts_.engine.weights_sha256(hash);
  if (!hashed.ok() || memcmp(hash, state.pending_hash, kHashBytes) != 0 ||
      parts_.engine.step() != state.pending_step) {
    return true;
  }
  Record record = stamp(RecordType::kCommitted);
  record.entry = state.pending_entry;
  const Status status = append(record, {});
  if (!status.ok()) fail("a commit could not be noted in the sample store", status);
  return status.ok();
}

void Scheduler::begin() {
  mode_ = Mode::kRunning;
  activity_ = Activity::kPlan;
  labels_taken_ = false;
  restore_done();
  heard();
}

Status Scheduler::boot() {
  Settings settings;
  Status status = parts_.schedule.load(&settings);
  if (status.code == StatusCode::kNoSchedule || (status.ok() && !settings.running)) return {};
  if (status.ok()) status = open();
  // Also where it does not go on: labels may come all the same, and their records say what is dealt
  // with.
  settings_ = settings;
  if (status.ok()) restore_done();
  if (status.ok() &&
      memcmp(settings.model, parts_.engine.info().model_hash, sizeof settings.model) != 0) {
    status = StatusCode::kOtherModel;
  }
  // A replay that the restart forgot is filled before resume(), which looks then.
  if (status.ok() && parts_.source.ready()) status = check(settings.schedule);
  // Weights that cannot be read must not be trained over.
  if (status.ok()) status = restore_weights();
  if (!status.ok()) {
    fail("duty-cycled operation does not go on after the restart", status);
    return status;
  }
  const LogState& state = parts_.store.state();
  // A clock that is behind the log's began anew; time then goes on from the log's last record.
  const auto clock_s = static_cast<uint32_t>(parts_.sleep.now_us() / kSecondUs);
  if (clock_s >= state.clock_s) {
    offset_s_ = int64_t{state.time_s} - int64_t{state.clock_s};
  } else {
    set_time(state.time_s);
  }
  wakes_ = state.wakes;
  const uint32_t pending = state.pending_number;
  const uint32_t tunings = state.tunings;
  (void)settle_tuning();
  if (pending != 0 && state.tunings == tunings) {
    Event dropped = event(EventKind::kDropped);
    dropped.id = tunings + 1;
    tell(dropped);
    if (listener_ != nullptr) {
      listener_->on_text(
          false, "a fine-tuning was cut off before its commit; the weights are the last committed",
          {});
    }
  }
  begin();
  // Later than the log's last record: it has slept since.
  if (time_s() != state.time_s) ++wakes_;
  if (!parts_.source.ready()) {
    mode_ = Mode::kPaused;
    if (listener_ != nullptr) {
      listener_->on_text(false, "paused until there are samples to replay; then resume", {});
    }
    return {};
  }
  Event started = event(EventKind::kStarted);
  started.code = kAfterRestart;
  tell(started);
  return {};
}

Status Scheduler::start(uint32_t time_s, uint32_t until_s, uint32_t seed, bool empty) {
  if (mode_ == Mode::kRunning) return StatusCode::kDutyMode;
  if (!parts_.engine.loaded()) return StatusCode::kNotLoaded;
  if (until_s != 0 && until_s <= time_s) return StatusCode::kBadArgument;
  Settings settings;
  Status status = parts_.schedule.load(&settings);
  if (status.ok()) status = check(settings.schedule);
  if (status.ok() && !parts_.source.ready()) status = StatusCode::kSampleFailed;
  if (status.ok()) status = open();
  if (empty && (status.ok() || status.code == StatusCode::kStoreForeign)) {
    status = parts_.store.format(parts_.engine.info().input_bytes);
  }
  if (!status.ok()) return status;
  // Fine-tuning begins at what a restart would find.
  status = restore_weights();
  if (!status.ok()) return status;
  set_time(time_s);
  wakes_ = parts_.store.state().wakes + 1;
  settings.start_s = time_s;
  settings.until_s = until_s;
  settings.seed = seed;
  settings.running = true;
  memcpy(settings.model, parts_.engine.info().model_hash, sizeof settings.model);
  settings_ = settings;
  // First the log, whose times then are the new ones; until the settings are there nothing runs.
  status = parts_.store.append(stamp(RecordType::kStarted), {});
  if (status.ok()) status = parts_.schedule.save(settings);
  if (!status.ok()) return status;
  begin();
  tell(event(EventKind::kStarted));
  return {};
}

Status Scheduler::resume() {
  if (mode_ != Mode::kPaused) return StatusCode::kDutyMode;
  if (!parts_.source.ready()) return StatusCode::kSampleFailed;
  if (!parts_.engine.loaded() ||
      memcmp(settings_.model, parts_.engine.info().model_hash, sizeof settings_.model) != 0) {
    return StatusCode::kOtherModel;
  }
  Status status = check(settings_.schedule);
  // In between the host may have loaded another network, for which the store was opened and
  // refused.
  const uint32_t bytes = parts_.engine.info().input_bytes;
  if (status.ok() && (!parts_.store.opened() || parts_.store.sample_bytes() != bytes)) {
    status = parts_.store.open(bytes);
  }
  // In between the host may have trained.
  if (status.ok()) status = restore_weights();
  if (!status.ok()) return status;
  mode_ = Mode::kRunning;
  activity_ = Activity::kPlan;
  heard();
  Event started = event(EventKind::kStarted);
  started.code = kAfterPause;
  tell(started);
  return {};
}

void Scheduler::pause() {
  if (mode_ != Mode::kRunning) return;
  if (tuning()) drop_tuning("fine-tuning was interrupted", {});
  mode_ = Mode::kPaused;
  Event stopped = event(EventKind::kStopped);
  stopped.code = kStoppedPaused;
  tell(stopped);
}

Status Scheduler::stop() {
  pause();
  if (mode_ == Mode::kStopped) {
    // Written also where it says so already: the slot that says otherwise may be unreadable today.
    const Status status = parts_.schedule.load(&settings_);
    if (status.code == StatusCode::kNoSchedule) return {};
    if (!status.ok()) return status;
  }
  mode_ = Mode::kStopped;
  settings_.running = false;
  return parts_.schedule.save(settings_);
}

void Scheduler::finish() {
  Event stopped = event(EventKind::kStopped);
  stopped.code = kStoppedOver;
  const Status status = stop();
  if (!status.ok()) fail("the end of duty-cycled operation was not noted in flash", status);
  tell(stopped);
}

// ---- work

uint32_t Scheduler::wait_ms() {
  if (activity_ != Activity::kSleep) return 0;
  const uint64_t now_us = parts_.sleep.now_us();
  const uint64_t listened_us = awake_since_us_ + uint64_t{1000} * settings_.schedule.listen_ms;
  const uint64_t until_us = listened_us > stay_until_us_ ? listened_us : stay_until_us_;
  return now_us >= until_us ? 0 : static_cast<uint32_t>((until_us - now_us + 999) / 1000);
}

void Scheduler::step() {
  if (mode_ != Mode::kRunning) return;
  switch (activity_) {
    case Activity::kPlan:
      return plan();
    case Activity::kLoad:
      return load_item();
    case Activity::kTrain:
      return train_item();
    case Activity::kCommit:
      return commit();
    case Activity::kSleep:
      return sleep();
  }
}

// One entry that is due, in the table's order; else to sleep.
void Scheduler::plan() {
  if (!labels_taken_) {
    labels_taken_ = take_labels();
    return;
  }
  const uint32_t now = time_s();
  if (settings_.until_s != 0 && now >= settings_.until_s) return finish();
  for (uint32_t i = 0; i < settings_.schedule.count; ++i) {
    uint32_t due_s = due(i);
    if (due_s > now) continue;
    const Entry& e = settings_.schedule.entries[i];
    due_s += (now - due_s) / e.period_s * e.period_s;
    done_before_ = done_[i];
    done_[i] = due_s + 1;
    if (!allowed(i)) continue;
    if (e.action == Action::kSample) return sample(i, due_s);
    if (begin_tuning(i, due_s)) return;
  }
  slept_from_s_ = now;
  activity_ = Activity::kSleep;
}

// The labels that the source knows by now. False: one was taken, there may be more.
bool Scheduler::take_labels() {
  const uint32_t now = time_s();
  for (uint32_t i = 0; i < parts_.store.count(); ++i) {
    const StoredSample& stored = parts_.store.sample(i);
    uint16_t label = 0;
    if (stored.label_number != 0 || !parts_.source.label(stored.id, stored.taken_s, now, &label)) {
      continue;
    }
    const Status status = append_label(stored, label);
    if (status.ok()) return false;
    fail("a label could not be stored", status);
    return true;
  }
  return true;
}

bool Scheduler::allowed(uint32_t entry) {
  const Entry& e = settings_.schedule.entries[entry];
  Event skipped = event(EventKind::kSkipped);
  skipped.entry = static_cast<uint8_t>(entry);
  if (is_quiet(e, time_s())) {
    skipped.code = kSkippedQuiet;
  } else if (e.min_battery_mv != 0 || e.min_battery_percent != 0) {
    BatteryState state;
    if (!parts_.battery->read(time_s(), &state) || state.mv < e.min_battery_mv ||
        (e.min_battery_percent != 0 && (state.percent == BatteryState::kUnknownPercent ||
                                        state.percent < e.min_battery_percent))) {
      skipped.code = kSkippedBattery;
    }
  }
  if (skipped.code == 0) return true;
  ++skipped_;
  tell(skipped);
  return false;
}

void Scheduler::sample(uint32_t entry, uint32_t due_s) {
  const uint32_t id = parts_.store.state().next_id;
  const uint32_t bytes = parts_.engine.info().input_bytes;
  const Span<const int8_t> input(input_.data(), bytes);
  bool taken = false;
  {
    const PhaseScope scope(parts_.phases, Phase::kLoad);
    taken = parts_.source.take(id, time_s(), input_.data(), bytes);
  }
  if (!taken) return fail("a sample was not taken", {StatusCode::kSampleFailed, id});
  Record record = stamp(RecordType::kSample);
  record.entry = static_cast<uint8_t>(entry);
  record.id = id;
  record.due = due_s + 1;
  Status status = parts_.engine.infer(input, nullptr, &record.prediction);
  if (!status.ok()) return fail("a sample was not classified", status);
  status = append(record, input);
  if (!status.ok()) return fail("a sample was not stored", status);
  Event stored = event(EventKind::kSample);
  stored.entry = record.entry;
  stored.id = id;
  stored.code = record.prediction;
  stored.battery_mv = record.battery_mv;
  tell(stored);
  labels_taken_ = false;  // its own may be known at once
}

void Scheduler::sleep() {
  const uint32_t now = time_s();
  const uint32_t next = next_due();
  if (next > now) {
    const uint32_t wake = next - now > kLongestSleepS ? now + kLongestSleepS : next;
    const PhaseScope scope(parts_.phases, Phase::kSleep);
    const auto wake_us = static_cast<uint64_t>(int64_t{wake} - offset_s_) * kSecondUs;
    if (!parts_.sleep.until(wake_us)) return;
  }
  if (next > time_s()) return;
  ++wakes_;
  heard();
  labels_taken_ = false;
  activity_ = Activity::kPlan;
  Event woke = event(EventKind::kWoke);
  woke.value = time_s() - slept_from_s_;
  tell(woke);
}

// ---- labels

Status Scheduler::append_label(const StoredSample& stored, uint16_t label) {
  if (label >= parts_.engine.info().classes) return {StatusCode::kBadLabel, label};
  Record record = stamp(RecordType::kLabel);
  record.id = stored.id;
  record.label = label;
  record.number = parts_.store.state().labels + 1;
  record.prediction = stored.prediction;
  const Status status = append(record, {});
  if (!status.ok()) return status;
  Event labelled = event(EventKind::kLabel);
  labelled.id = record.id;
  labelled.code = label;
  labelled.value = record.prediction == label ? 1 : 0;
  tell(labelled);
  return {};
}

Status Scheduler::label(uint32_t id, uint16_t label) {
  const Status status = open();
  if (!status.ok()) return status;
  const StoredSample* stored = parts_.store.find(id);
  if (stored == nullptr) return {StatusCode::kNoSample, id};
  if (stored->label_number != 0) {
    return stored->label == label ? Status() : Status(StatusCode::kLabelled, id);
  }
  return append_label(*stored, label);
}

// ---- records and events

Record Scheduler::stamp(RecordType type) {
  Record record;
  record.type = type;
  record.time_s = time_s();
  record.clock_s = static_cast<uint32_t>(parts_.sleep.now_us() / kSecondUs);
  record.wakes = wakes_;
  record.battery_mv = battery_mv();
  record.settled = settled(record.time_s);
  return record;
}

Status Scheduler::append(const Record& record, Span<const int8_t> payload) {
  const PhaseScope scope(parts_.phases, Phase::kCommit);
  return parts_.store.append(record, payload);
}

uint16_t Scheduler::battery_mv() {
  BatteryState state;
  if (parts_.battery == nullptr || !parts_.battery->read(time_s(), &state)) return 0;
  return state.mv;
}

Event Scheduler::event(EventKind kind) {
  Event found;
  found.kind = kind;
  found.time_s = time_s();
  return found;
}

void Scheduler::tell(const Event& event) {
  if (listener_ == nullptr) return;
  Event told = event;
  if (told.battery_mv == 0) told.battery_mv = battery_mv();
  listener_->on_event(told);
}

void Scheduler::fail(const char* what, Status why) {
  ++failures_;
  last_failure_ = why;
  Event failed = event(EventKind::kFailed);
  failed.code = static_cast<uint16_t>(why.code);
  failed.value = why.record;
  tell(failed);
  if (listener_ != nullptr) listener_->on_text(true, what, why);
}

Facts Scheduler::facts() {
  Facts found;
  found.mode = mode_;
  found.tuning = tuning();
  found.time_s = time_s();
  found.wakes = wakes_;
  found.next_s = mode_ == Mode::kStopped ? 0 : next_due();
  for (uint32_t i = 0; i < parts_.store.count(); ++i) {
    const uint32_t number = parts_.store.sample(i).label_number;
    found.unlabelled += number == 0 ? 1 : 0;
    found.new_labelled += number > parts_.store.state().used_labels ? 1 : 0;
  }
  if (parts_.battery != nullptr) (void)parts_.battery->read(found.time_s, &found.battery);
  found.skipped = skipped_;
  found.failures = failures_;
  found.last_failure = last_failure_;
  return found;
}

}  // namespace duty
}  // namespace tbft
