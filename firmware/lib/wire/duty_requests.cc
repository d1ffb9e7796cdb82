// Duty-cycled operation over the port: its requests, and its steps between them.
#include <cstring>

#include "runtime/bytes.h"
#include "wire/dispatcher.h"

namespace tbft {
namespace wire {
namespace {

constexpr uint8_t kStartReport = 1;
constexpr uint8_t kStartEmpty = 2;
constexpr uint8_t kStartResume = 4;
// A board that was paused and forgotten goes on by itself; one that replays waits for its host, and
// an emulated one would not know how long.
constexpr uint64_t kResumeAfterUs = 600'000'000;
constexpr uint32_t kPausedPollMs = 10'000;
constexpr uint16_t kNoLabel = 0xffff;
// Log: text of a failure of duty-cycled operation.
constexpr uint8_t kLogInfo = 1;
constexpr uint8_t kLogError = 3;
constexpr size_t kTextBytes = 256;

static_assert(ScheduleEntry::kFixedBytes == duty::kEntryBytes, "the table is the same in flash");

// Requests that use the engine, the arena, or the memory that duty-cycled operation works with.
bool needs_idle_board(uint8_t type) {
  switch (type) {
    case ConfigureRequest::kType:
    case ArtifactBeginRequest::kType:
    case ArtifactChunkRequest::kType:
    case ArtifactEndRequest::kType:
    case SelfTestRequest::kType:
    case InputChunkRequest::kType:
    case CacheInputRequest::kType:
    case TrainRequest::kType:
    case TrainInputRequest::kType:
    case InferInputRequest::kType:
    case InferSlotRequest::kType:
    case EvaluateRequest::kType:
    case WriteWeightsRequest::kType:
    case CommitRequest::kType:
    case DutyWriteScheduleRequest::kType:
    case ReplaySampleRequest::kType:
    case ReplayBatteryRequest::kType:
      return true;
    default:
      return false;
  }
}

bool is_duty(uint8_t type) {
  return type >= DutyWriteScheduleRequest::kType && type <= ReplayBatteryRequest::kType;
}

size_t append_text(const char* text, size_t at, uint8_t* out) {
  for (; *text != '\0' && at < kTextBytes; ++text, ++at) out[at] = static_cast<uint8_t>(*text);
  return at;
}

DutyEvent record_of(const duty::Event& event) {
  DutyEvent record;
  record.kind = static_cast<uint8_t>(event.kind);
  record.entry = event.entry;
  record.code = event.code;
  record.time_s = event.time_s;
  record.id = event.id;
  record.value = event.value;
  record.battery_mv = event.battery_mv;
  return record;
}

}  // namespace

void Dispatcher::set_duty(const DutyPort& duty) {
  duty_ = duty;
  duty_.scheduler->set_listener(this);
}

Outcome Dispatcher::while_on_duty(uint8_t type) const {
  if (duty_.scheduler == nullptr) {
    return is_duty(type) ? Outcome::of(WireStatus::kNoDuty) : Outcome();
  }
  if (duty_.scheduler->active() && needs_idle_board(type)) {
    return Outcome::of(WireStatus::kDutyRunning);
  }
  return {};
}

uint32_t Dispatcher::duty_wait_ms(uint32_t timeout_ms) {
  if (duty_.scheduler == nullptr) {
    return timeout_ms;
  }
  uint32_t wait_ms = timeout_ms;
  if (duty_.scheduler->active()) {
    wait_ms = duty_.scheduler->wait_ms();
  } else if (duty_.scheduler->paused() && duty_.replay == nullptr) {
    wait_ms = kPausedPollMs;
  }
  return wait_ms < timeout_ms ? wait_ms : timeout_ms;
}

bool Dispatcher::step_duty() {
  duty::Scheduler* scheduler = duty_.scheduler;
  if (scheduler == nullptr) {
    return false;
  }
  if (!scheduler->active()) {
    const bool forgotten = scheduler->paused() && duty_.replay == nullptr &&
                           clock_.now_us() - heard_us_ >= kResumeAfterUs;
    if (!forgotten || !scheduler->resume().ok()) {
      return false;
    }
  }
  if (scheduler->wait_ms() != 0) {
    return false;  // awake for the port
  }
  in_duty_step_ = true;
  events_.set_context(0, 255);
  sequence_ = 0;
  scheduler->step();
  in_duty_step_ = false;
  send_events(false);
  send_duty_events(false);
  return true;
}

// ---- events

void Dispatcher::on_event(const duty::Event& event) {
  const size_t kept = duty_.events.size();
  if (kept != 0) {
    duty_.events[duty_events_ % kept] = record_of(event);
  }
  ++duty_events_;
}

void Dispatcher::on_text(bool failure, const char* what, Status why) {
  uint8_t text[kTextBytes];
  size_t size = append_text("on duty: ", 0, text);
  size = append_text(what, size, text);
  if (!why.ok()) {
    size = append_text(": ", size, text);
    size = append_text(tbft::to_string(why.code), size, text);
  }
  Log log;
  log.level = failure ? kLogError : kLogInfo;
  log.text = {text, size};
  notify(log, sequence_);
}

uint32_t Dispatcher::oldest_duty_event() const {
  const auto kept = static_cast<uint32_t>(duty_.events.size());
  return duty_events_ > kept ? duty_events_ - kept : 0;
}

uint32_t Dispatcher::write_duty_events(uint32_t first, BodyWriter* out) const {
  uint32_t written = 0;
  for (uint32_t i = first; i < duty_events_ && out->room() >= DutyEvent::kFixedBytes; ++i) {
    (void)duty_.events[i % duty_.events.size()].encode(*out);
    ++written;
  }
  return written;
}

void Dispatcher::send_duty_events(bool all) {
  constexpr uint32_t kPerFrame = (kBodyLimit - DutyEvents::kFixedBytes) / DutyEvent::kFixedBytes;
  while (duty_report_ && duty_events_sent_ < duty_events_) {
    const bool full = duty_events_ - duty_events_sent_ >= kPerFrame;
    const bool overrun = duty_events_sent_ <= oldest_duty_event() && oldest_duty_event() != 0;
    if (!all && !full && !overrun) {
      return;
    }
    if (duty_events_sent_ < oldest_duty_event()) {
      duty_events_sent_ = oldest_duty_event();
    }
    BodyWriter out({notice_ + kFrameHeaderBytes, kBodyLimit});
    out.u32(duty_events_sent_);
    duty_events_sent_ += write_duty_events(duty_events_sent_, &out);
    send({notice_, finish_payload(DutyEvents::kType, sequence_, out.size(), notice_)});
  }
}

void Dispatcher::run(const DutyReadEventsRequest& request) {
  uint32_t first = request.first;
  if (first < oldest_duty_event()) {
    first = oldest_duty_event();
  }
  if (first > duty_events_) {
    first = duty_events_;
  }
  BodyWriter out = body();
  out.u32(first);
  (void)write_duty_events(first, &out);
  answer(DutyReadEventsResponse::kType, out);
}

// ---- the schedule

void Dispatcher::run(const DutyWriteScheduleRequest& request) {
  duty::Schedule schedule;
  schedule.listen_ms = request.listen_ms;
  Status status = duty::parse_entries(request.entries, &schedule);
  if (status.ok()) {
    status = duty_.scheduler->write_schedule(schedule);
  }
  if (!status.ok()) {
    return answer_error(Outcome::of(status));
  }
  DutyWriteScheduleResponse response;
  response.sequence = duty_.scheduler->schedule_store().sequence();
  answer(response);
}

void Dispatcher::run(const DutyReadScheduleRequest&) {
  duty::Settings settings;
  const Status status = duty_.scheduler->read_schedule(&settings);
  if (!status.ok()) {
    return answer_error(Outcome::of(status));
  }
  uint8_t entries[duty::kMaxEntries * duty::kEntryBytes];
  duty::write_entries(settings.schedule, entries);
  DutyReadScheduleResponse response;
  response.sequence = duty_.scheduler->schedule_store().sequence();
  response.running = settings.running ? 1 : 0;
  response.start_s = settings.start_s;
  response.until_s = settings.until_s;
  response.seed = settings.seed;
  response.listen_ms = settings.schedule.listen_ms;
  response.entries = {entries, size_t{settings.schedule.count} * duty::kEntryBytes};
  answer(response);
}

void Dispatcher::run(const DutyStartRequest& request) {
  const bool resume = (request.flags & kStartResume) != 0;
  duty_report_ = (request.flags & kStartReport) != 0;
  duty_events_sent_ = duty_events_;
  input_received_ = 0;
  const Status status = resume
                            ? duty_.scheduler->resume()
                            : duty_.scheduler->start(request.time_s, request.until_s, request.seed,
                                                     (request.flags & kStartEmpty) != 0);
  if (!status.ok()) {
    return answer_error(Outcome::of(status));
  }
  DutyStartResponse response;
  response.time_s = duty_.scheduler->facts().time_s;
  answer(response);
}

void Dispatcher::run(const DutyStopRequest&) {
  const Status status = duty_.scheduler->stop();
  if (!status.ok()) {
    return answer_error(Outcome::of(status));
  }
  answer_empty(DutyStopRequest::kType);
}

void Dispatcher::run(const DutyStatusRequest&) {
  // A paused board keeps the store and the time it goes on with.
  if (duty_.scheduler->facts().mode == duty::Mode::kStopped) {
    (void)duty_.scheduler->open();  // where it can be: there is something to tell without it, too
  }
  const duty::Facts facts = duty_.scheduler->facts();
  const duty::SampleStore& store = duty_.scheduler->store();
  const duty::LogState& state = store.state();
  DutyStatusResponse response;
  response.mode = static_cast<uint8_t>(facts.mode);
  response.tuning = facts.tuning ? 1 : 0;
  response.time_s = facts.time_s;
  response.next_s = facts.next_s;
  response.wakes = facts.wakes;
  response.samples = state.next_id;
  response.labels = state.labels;
  response.right = state.right;
  response.tunings = state.tunings;
  response.stored = store.count();
  response.capacity = store.capacity();
  response.unlabelled = facts.unlabelled;
  response.new_labelled = facts.new_labelled;
  response.damaged = store.damaged();
  response.skipped = facts.skipped;
  response.failures = facts.failures;
  response.last_failure = static_cast<uint16_t>(facts.last_failure.code);
  response.last_failure_record = facts.last_failure.record;
  response.checkpoint = checkpoint_ != nullptr ? checkpoint_->sequence() : 0;
  response.battery_mv = facts.battery.mv;
  response.battery_percent = facts.battery.percent;
  response.events = duty_events_;
  response.tune_limit = duty_.scheduler->tune_limit();
  if (duty_.replay != nullptr) {
    const uint32_t bytes = engine_.loaded() ? engine_.info().input_bytes : 0;
    response.replay_limit = bytes != 0 ? duty_.replay->sample_limit(bytes) : 0;
    response.battery_limit = duty_.replay->battery_limit();
  }
  answer(response);
}

// ---- samples and labels

void Dispatcher::run(const DutyLabelsRequest& request) {
  for (size_t at = 0; at < request.labels.size(); at += SampleLabel::kFixedBytes) {
    SampleLabel one;
    (void)one.decode(request.labels.subspan(at, SampleLabel::kFixedBytes));
    const Status status = duty_.scheduler->label(one.id, one.label);
    if (!status.ok()) {
      return answer_error(Outcome::of(status));
    }
  }
  DutyLabelsResponse response;
  response.labels = duty_.scheduler->store().state().labels;
  answer(response);
}

void Dispatcher::run(const DutySamplesRequest& request) {
  const Status status = duty_.scheduler->open();
  if (!status.ok()) {
    return answer_error(Outcome::of(status));
  }
  const duty::SampleStore& store = duty_.scheduler->store();
  BodyWriter out = body();
  for (uint32_t i = 0; i < store.count() && out.room() >= StoredSample::kFixedBytes; ++i) {
    const duty::StoredSample& stored = store.sample(i);
    if (stored.id < request.first) {
      continue;
    }
    StoredSample record;
    record.id = stored.id;
    record.taken_s = stored.taken_s;
    record.prediction = stored.prediction;
    record.label = stored.label_number != 0 ? stored.label : kNoLabel;
    record.number = stored.label_number;
    (void)record.encode(out);
  }
  answer(DutySamplesResponse::kType, out);
}

void Dispatcher::run(const DutyReadSampleRequest& request) {
  Status status = duty_.scheduler->open();
  if (!status.ok()) {
    return answer_error(Outcome::of(status));
  }
  const uint32_t bytes = engine_.info().input_bytes;
  const duty::StoredSample* stored = duty_.scheduler->store().find(request.id);
  if (stored == nullptr) {
    return answer_error(Outcome::of(Status(StatusCode::kNoSample, request.id)));
  }
  if (request.length > kBodyLimit || request.offset > bytes ||
      request.length > bytes - request.offset) {
    return answer_error(Outcome::of(Status(StatusCode::kOutOfRange, bytes)));
  }
  input_received_ = 0;  // its memory is used
  status = duty_.scheduler->store().read(*stored, {input_.data(), bytes});
  if (!status.ok()) {
    return answer_error(Outcome::of(status));
  }
  BodyWriter out = body();
  uint8_t* pixels = out.take(request.length);
  for (uint32_t i = 0; i < request.length; ++i) {
    pixels[i] = static_cast<uint8_t>(input_[request.offset + i] + 128);
  }
  answer(DutyReadSampleResponse::kType, out);
}

// ---- what is replayed

void Dispatcher::run(const ReplaySampleRequest& request) {
  if (duty_.replay == nullptr) {
    return answer_error(Outcome::of(WireStatus::kNoReplay));
  }
  if (!input_complete()) {
    return;
  }
  if (request.label != ReplayMemory::kNoLabel && request.label >= engine_.info().classes) {
    return answer_error(Outcome::of(Status(StatusCode::kBadLabel, request.label)));
  }
  if (!duty_.replay->put_sample(request.index, input_.data(), input_received_, request.label,
                                request.delay_s)) {
    return answer_error(Outcome::of(WireStatus::kReplayFull, duty_.replay->samples()));
  }
  ReplaySampleResponse response;
  response.samples = duty_.replay->samples();
  answer(response);
}

void Dispatcher::run(const ReplayBatteryRequest& request) {
  if (duty_.replay == nullptr) {
    return answer_error(Outcome::of(WireStatus::kNoReplay));
  }
  uint32_t index = request.index;
  for (size_t at = 0; at < request.points.size(); at += BatteryReading::kFixedBytes, ++index) {
    BatteryReading one;
    (void)one.decode(request.points.subspan(at, BatteryReading::kFixedBytes));
    if (!duty_.replay->put_battery(index, one.time_s, one.mv, one.percent)) {
      return answer_error(Outcome::of(WireStatus::kReplayFull, index));
    }
  }
  ReplayBatteryResponse response;
  response.points = index;
  answer(response);
}

}  // namespace wire
}  // namespace tbft
