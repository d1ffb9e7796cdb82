// Duty-cycled operation for ctypes: a board with replayed samples, virtual time and one flash whose
// power can be cut, holding weights, schedule and samples. Status results are packed as in
// runtime_capi.cc.
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "duty/scheduler.h"
#include "fake_flash.h"
#include "hal_memory/ram_sample_cache.h"
#include "hal_virtual/replay.h"
#include "hal_virtual/virtual_time.h"
#include "runtime/checkpoint.h"
#include "runtime/engine.h"
#include "runtime/flash_area.h"

namespace {

using namespace tbft;

constexpr uint32_t kArenaBytes = 1U << 18;

uint64_t pack(Status status) {
  return static_cast<uint64_t>(status.code) | (static_cast<uint64_t>(status.record) << 32);
}

// The board is infinitely fast: only sleeping takes time.
class StandingClock final : public Clock {
 public:
  uint64_t now_us() override { return 0; }
};

// Replays, unless the test breaks the sensor.
class BreakableSource final : public SampleSource {
 public:
  explicit BreakableSource(Replay& replay) : replay_(replay) {}
  bool ready() override { return replay_.ready(); }
  bool take(uint32_t id, uint32_t time_s, int8_t* sample, uint32_t size) override {
    return !broken && replay_.take(id, time_s, sample, size);
  }
  bool label(uint32_t id, uint32_t taken_s, uint32_t now_s, uint16_t* label) override {
    return replay_.label(id, taken_s, now_s, label);
  }
  bool broken = false;

 private:
  Replay& replay_;
};

class Phases final : public PhaseListener {
 public:
  void enter(Phase phase) override {
    nested += inside ? 1 : 0;
    inside = true;
    ++counts[static_cast<size_t>(phase)];
  }
  void leave(Phase, const Work&) override { inside = false; }
  uint32_t counts[kPhaseCount] = {};
  uint32_t nested = 0;
  bool inside = false;
};

struct alignas(16) Block {
  uint8_t bytes[16];
};

struct Geometry {
  uint32_t weights_bytes, schedule_bytes, store_bytes, erase_bytes, program_bytes;
  uint32_t cache_bytes, replay_bytes, index, items;
};

struct DutyBoard final : public duty::EventListener {
  explicit DutyBoard(const Geometry& g)
      : arena(kArenaBytes / 16),
        cache_storage(g.cache_bytes),
        replay_storage(g.replay_bytes),
        points(64),
        index(g.index),
        items(g.items),
        input(1 << 14),
        cache(cache_storage.data(), g.cache_bytes),
        engine({reinterpret_cast<uint8_t*>(arena.data()), kArenaBytes}, &cache, &phases),
        flash(g.weights_bytes + g.schedule_bytes + g.store_bytes, g.erase_bytes, g.program_bytes),
        weights_area(flash, 0, g.weights_bytes),
        schedule_area(flash, g.weights_bytes, g.schedule_bytes),
        store_area(flash, g.weights_bytes + g.schedule_bytes, g.store_bytes),
        checkpoint(&weights_area, &phases),
        schedule(&schedule_area),
        store(&store_area, {index.data(), index.size()}),
        time(clock),
        replay(replay_storage.data(), g.replay_bytes, points.data(),
               static_cast<uint32_t>(points.size())),
        source(replay),
        scheduler({engine, checkpoint, schedule, store, source, &replay, time, &phases},
                  {input.data(), input.size()}, {items.data(), items.size()}) {
    scheduler.set_listener(this);
  }

  void on_event(const duty::Event& event) override { events.push_back(event); }
  void on_text(bool failure, const char* what, Status why) override {
    text += failure ? "failure: " : "note: ";
    text += what;
    if (!why.ok()) text += std::string(": ") + to_string(why.code);
    text += '\n';
  }

  std::vector<Block> arena;
  std::vector<Block> artifact;
  std::vector<uint8_t> cache_storage;
  std::vector<uint8_t> replay_storage;
  std::vector<BatteryPoint> points;
  std::vector<duty::StoredSample> index;
  std::vector<duty::TuneItem> items;
  std::vector<int8_t> input;
  Phases phases;
  RamSampleCache cache;
  Engine engine;
  FakeFlash flash;
  FlashArea weights_area;
  FlashArea schedule_area;
  FlashArea store_area;
  Checkpoint checkpoint;
  duty::ScheduleStore schedule;
  duty::SampleStore store;
  StandingClock clock;
  VirtualTime time;
  Replay replay;
  BreakableSource source;
  duty::Scheduler scheduler;
  std::vector<duty::Event> events;
  std::string text;
};

DutyBoard* board(void* handle) { return static_cast<DutyBoard*>(handle); }

}  // namespace

extern "C" {

// `g`: the fields of Geometry in their order.
void* tbft_duty_new(const uint32_t* g) {
  return new DutyBoard({g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7], g[8]});
}
void tbft_duty_free(void* handle) { delete board(handle); }

// Loads the artifact and, as the firmware does, the weights that flash holds.
uint64_t tbft_duty_load(void* handle, const uint8_t* bytes, size_t size) {
  DutyBoard* b = board(handle);
  b->artifact.resize((size + 15) / 16);
  memcpy(b->artifact.data(), bytes, size);
  const Status status =
      b->engine.load({reinterpret_cast<const uint8_t*>(b->artifact.data()), size});
  if (status.ok()) (void)b->checkpoint.restore(&b->engine);
  return pack(status);
}

void tbft_duty_reload(void* handle) {
  (void)board(handle)->engine.reset_weights();
  (void)board(handle)->checkpoint.restore(&board(handle)->engine);
}

uint64_t tbft_duty_schedule(void* handle, const uint8_t* entries, size_t size, uint32_t listen_ms) {
  duty::Schedule schedule;
  schedule.listen_ms = static_cast<uint16_t>(listen_ms);
  Status status = duty::parse_entries({entries, size}, &schedule);
  if (status.ok()) status = board(handle)->scheduler.write_schedule(schedule);
  return pack(status);
}
// out: running, start, until, seed, listen, entries, sequence; `entries` has room for 320 bytes.
uint64_t tbft_duty_read_schedule(void* handle, uint32_t* out, uint8_t* entries) {
  duty::Settings s;
  const Status status = board(handle)->scheduler.read_schedule(&s);
  if (!status.ok()) return pack(status);
  const uint32_t numbers[] = {s.running,
                              s.start_s,
                              s.until_s,
                              s.seed,
                              s.schedule.listen_ms,
                              s.schedule.count,
                              board(handle)->schedule.sequence()};
  memcpy(out, numbers, sizeof numbers);
  duty::write_entries(s.schedule, entries);
  return pack(status);
}

uint64_t tbft_duty_boot(void* handle) { return pack(board(handle)->scheduler.boot()); }
uint64_t tbft_duty_start(void* handle, uint32_t time_s, uint32_t until_s, uint32_t seed,
                         uint32_t empty) {
  return pack(board(handle)->scheduler.start(time_s, until_s, seed, empty != 0));
}
uint64_t tbft_duty_resume(void* handle) { return pack(board(handle)->scheduler.resume()); }
uint64_t tbft_duty_stop(void* handle) { return pack(board(handle)->scheduler.stop()); }
void tbft_duty_pause(void* handle) { board(handle)->scheduler.pause(); }
uint64_t tbft_duty_open(void* handle) { return pack(board(handle)->scheduler.open()); }
uint64_t tbft_duty_label(void* handle, uint32_t id, uint32_t label) {
  return pack(board(handle)->scheduler.label(id, static_cast<uint16_t>(label)));
}
// At most `limit` steps, as long as it is on duty and has power; returns the steps done.
uint32_t tbft_duty_run(void* handle, uint32_t limit) {
  DutyBoard* b = board(handle);
  uint32_t steps = 0;
  while (steps < limit && b->scheduler.active() && b->flash.powered()) {
    b->scheduler.step();
    ++steps;
  }
  return steps;
}
uint32_t tbft_duty_wait_ms(void* handle) { return board(handle)->scheduler.wait_ms(); }

// out: mode, tuning, time, next, wakes, samples, labels, right, tunings, used labels, stored,
// capacity, unlabelled, new labelled, damaged, skipped, failures, last failure, checkpoint
// sequence, battery mV, percent, active steps of the engine.
void tbft_duty_status(void* handle, uint32_t* out) {
  DutyBoard* b = board(handle);
  const duty::Facts f = b->scheduler.facts();
  const duty::LogState& s = b->store.state();
  const uint32_t numbers[] = {static_cast<uint32_t>(f.mode),
                              f.tuning,
                              f.time_s,
                              f.next_s,
                              f.wakes,
                              s.next_id,
                              s.labels,
                              s.right,
                              s.tunings,
                              s.used_labels,
                              b->store.count(),
                              b->store.capacity(),
                              f.unlabelled,
                              f.new_labelled,
                              b->store.damaged(),
                              f.skipped,
                              f.failures,
                              static_cast<uint32_t>(f.last_failure.code),
                              b->checkpoint.sequence(),
                              f.battery.mv,
                              f.battery.percent,
                              b->engine.step()};
  memcpy(out, numbers, sizeof numbers);
}
// Five numbers per stored sample: id, time, prediction, label, label number; returns the samples.
uint32_t tbft_duty_samples(void* handle, uint32_t* out) {
  const duty::SampleStore& store = board(handle)->store;
  for (uint32_t i = 0; i < store.count(); ++i) {
    const duty::StoredSample& s = store.sample(i);
    const uint32_t numbers[] = {s.id, s.taken_s, s.prediction, s.label, s.label_number};
    memcpy(out + size_t{i} * 5, numbers, sizeof numbers);
  }
  return store.count();
}
uint64_t tbft_duty_read_sample(void* handle, uint32_t id, int8_t* out, size_t size) {
  duty::SampleStore& store = board(handle)->store;
  const duty::StoredSample* stored = store.find(id);
  if (stored == nullptr) return pack({StatusCode::kNoSample, id});
  return pack(store.read(*stored, {out, size}));
}
// Six numbers per event: kind, entry, code, time, id, value; empties the list.
uint32_t tbft_duty_events(void* handle, uint32_t* out, uint32_t limit) {
  auto& events = board(handle)->events;
  uint32_t n = 0;
  for (; n < events.size() && n < limit; ++n) {
    const duty::Event& e = events[n];
    const uint32_t numbers[] = {
        static_cast<uint32_t>(e.kind), e.entry, e.code, e.time_s, e.id, e.value};
    memcpy(out + size_t{n} * 6, numbers, sizeof numbers);
  }
  events.erase(events.begin(), events.begin() + n);
  return n;
}
// What was said to people since the last call, line by line.
size_t tbft_duty_text(void* handle, char* out, size_t size) {
  std::string& text = board(handle)->text;
  const size_t n = text.copy(out, size);
  text.clear();
  return n;
}
// [9 phases] times entered; returns how often phases nested.
uint32_t tbft_duty_phases(void* handle, uint32_t* out) {
  const Phases& phases = board(handle)->phases;
  memcpy(out, phases.counts, sizeof phases.counts);
  return phases.nested;
}

uint32_t tbft_duty_put_sample(void* handle, uint32_t index, const int8_t* sample, uint32_t size,
                              uint32_t label, uint32_t delay_s) {
  return board(handle)->replay.put_sample(index, sample, size, static_cast<uint16_t>(label),
                                          delay_s);
}
uint32_t tbft_duty_put_battery(void* handle, uint32_t index, uint32_t time_s, uint32_t mv,
                               uint32_t percent) {
  return board(handle)->replay.put_battery(index, time_s, static_cast<uint16_t>(mv),
                                           static_cast<uint8_t>(percent));
}
void tbft_duty_break_sensor(void* handle, uint32_t broken) {
  board(handle)->source.broken = broken != 0;
}

uint64_t tbft_duty_weights_sha256(void* handle, uint8_t* out) {
  return pack(board(handle)->engine.weights_sha256(out));
}
uint64_t tbft_duty_commit(void* handle) {
  return pack(board(handle)->checkpoint.commit(&board(handle)->engine));
}
void tbft_duty_flash_cut(void* handle, uint32_t operation, uint32_t how) {
  board(handle)->flash.cut_at(operation, static_cast<Cut>(how));
}
uint32_t tbft_duty_powered(void* handle) { return board(handle)->flash.powered(); }
uint32_t tbft_duty_operations(void* handle) { return board(handle)->flash.operations(); }
void tbft_duty_flash_fail(void* handle, uint32_t kinds) { board(handle)->flash.fail(kinds); }
void tbft_duty_unreadable(void* handle, uint32_t offset, uint32_t size) {
  if (size == 0) {
    board(handle)->flash.make_readable();
  } else {
    board(handle)->flash.make_unreadable(offset, size);
  }
}
uint32_t tbft_duty_is_unreadable(void* handle, uint32_t offset) {
  return board(handle)->flash.is_unreadable(offset);
}
uint8_t* tbft_duty_flash_bytes(void* handle) { return board(handle)->flash.bytes().data(); }

// ---- pieces of their own
void tbft_duty_divided(uint32_t mantissa, int32_t exponent, uint32_t samples, int64_t* out) {
  const LearningRate rate = duty::divided({mantissa, exponent}, samples);
  out[0] = rate.mantissa;
  out[1] = rate.exponent;
}
uint32_t tbft_duty_shuffle_place(uint32_t seed, uint32_t tuning, uint32_t epoch, uint32_t top) {
  return duty::shuffle_place(duty::shuffle_key(seed, tuning, epoch), top);
}

}  // extern "C"
