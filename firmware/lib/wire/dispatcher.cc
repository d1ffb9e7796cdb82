#include "wire/dispatcher.h"

#include <cstring>

#include "runtime/bytes.h"

namespace tbft {
namespace wire {
namespace {

constexpr uint64_t kProgressEveryUs = 250'000;
constexpr size_t kReadBytes = 256;
// How long the port may be waited for while a current sensor is sampled.
constexpr uint32_t kSensorPollMs = 1;
constexpr uint8_t kFirstNotice = 0x70;  // requests have types below

}  // namespace

Dispatcher::Dispatcher(const BoardInfo& board, Engine& engine, ArtifactLoader& loader,
                       Checkpoint* checkpoint, EventRecorder& events, Span<int8_t> input,
                       ByteStream& stream, Clock& clock)
    : board_(board),
      engine_(engine),
      loader_(loader),
      checkpoint_(checkpoint),
      events_(events),
      input_(input),
      stream_(stream),
      clock_(clock) {
  events_.set_hook(this);
}

bool Dispatcher::poll(uint32_t timeout_ms) {
  uint8_t bytes[kReadBytes];
  if (sensors_ != nullptr && sensors_->running() && timeout_ms > kSensorPollMs) {
    timeout_ms = kSensorPollMs;
  }
  timeout_ms = job_.type != 0 ? 0 : duty_wait_ms(timeout_ms);
  const int32_t count = stream_.read(bytes, sizeof bytes, timeout_ms);
  if (count == ByteStream::kClosed) {
    return false;
  }
  receive({bytes, static_cast<size_t>(count)});
  step();
  serve_sensors();
  return true;
}

void Dispatcher::receive(Span<const uint8_t> bytes) {
  if (!bytes.empty() && duty_.scheduler != nullptr) {
    duty_.scheduler->heard();
    heard_us_ = clock_.now_us();
  }
  for (const uint8_t byte : bytes) {
    if (decoder_.between_frames()) {
      frame_start_us_ = clock_.now_us();
      frame_start_bytes_ = wire_bytes_;
    }
    ++wire_bytes_;
    const FrameResult result = decoder_.push(byte);
    if (result == FrameResult::kFrame) {
      handle(decoder_.frame());
    } else if (result != FrameResult::kPending) {
      Damaged notice;
      notice.reason = static_cast<uint8_t>(result);
      notify(notice, 0);
    }
  }
}

// Whether a request may interrupt the job: only an Abort that would be executed.
Outcome Dispatcher::while_busy(const FrameView& frame) {
  if (frame.type != AbortRequest::kType) {
    return Outcome::of(WireStatus::kBusy);
  }
  if (frame.version != kProtocolVersion) {
    return Outcome::of(WireStatus::kWrongVersion, kProtocolVersion);
  }
  AbortRequest request;
  return request.decode(frame.body) ? Outcome() : Outcome::of(WireStatus::kBadBody);
}

void Dispatcher::handle(const FrameView& frame) {
  if (frame.type >= kFirstNotice) {
    return;  // not for a board: an echo, perhaps
  }
  if (job_.type != 0) {
    const bool again = frame.sequence == kept_sequence_ && frame.crc == kept_crc_;
    if (again) {
      send_progress();
      return;
    }
    const Outcome refusal = while_busy(frame);
    if (!refusal.ok()) {
      Error error;
      error.code = refusal.code;
      error.record = refusal.record;
      error.text = {reinterpret_cast<const uint8_t*>(refusal.text), strlen(refusal.text)};
      notify(error, frame.sequence);
      return;
    }
    fail_job(Outcome::of(WireStatus::kAborted, job_.done));
  } else if (kept_ && frame.sequence == kept_sequence_ && frame.crc == kept_crc_ &&
             frame.type != IdentifyRequest::kType) {
    send_kept();
    return;
  }
  kept_ = frame.type != IdentifyRequest::kType;
  kept_sequence_ = frame.sequence;
  kept_crc_ = frame.crc;
  sequence_ = frame.sequence;
  last_sent_us_ = clock_.now_us();
  events_.set_context(frame.sequence, 255);
  execute(frame);
}

template <typename Request>
void Dispatcher::decode_and_run(const FrameView& frame) {
  Request request;
  if (request.decode(frame.body)) {
    run(request);
  } else {
    answer_error(Outcome::of(WireStatus::kBadBody));
  }
}

void Dispatcher::execute(const FrameView& frame) {
  if (frame.version != kProtocolVersion && frame.type != IdentifyRequest::kType) {
    answer_error(Outcome::of(WireStatus::kWrongVersion, kProtocolVersion));
    return;
  }
  const Outcome refusal = while_on_duty(frame.type);
  if (!refusal.ok()) {
    answer_error(refusal);
    return;
  }
  switch (frame.type) {
    case IdentifyRequest::kType:
      return run(IdentifyRequest());
    case AbortRequest::kType:
      return decode_and_run<AbortRequest>(frame);
    case ConfigureRequest::kType:
      return decode_and_run<ConfigureRequest>(frame);
    case BoardStatusRequest::kType:
      return decode_and_run<BoardStatusRequest>(frame);
    case ArtifactBeginRequest::kType:
      return decode_and_run<ArtifactBeginRequest>(frame);
    case ArtifactChunkRequest::kType:
      return decode_and_run<ArtifactChunkRequest>(frame);
    case ArtifactEndRequest::kType:
      return decode_and_run<ArtifactEndRequest>(frame);
    case SelfTestRequest::kType:
      return decode_and_run<SelfTestRequest>(frame);
    case InputChunkRequest::kType:
      return decode_and_run<InputChunkRequest>(frame);
    case CacheInputRequest::kType:
      return decode_and_run<CacheInputRequest>(frame);
    case TrainRequest::kType:
      return decode_and_run<TrainRequest>(frame);
    case TrainInputRequest::kType:
      return decode_and_run<TrainInputRequest>(frame);
    case InferInputRequest::kType:
      return decode_and_run<InferInputRequest>(frame);
    case InferSlotRequest::kType:
      return decode_and_run<InferSlotRequest>(frame);
    case EvaluateRequest::kType:
      return decode_and_run<EvaluateRequest>(frame);
    case TensorTableRequest::kType:
      return decode_and_run<TensorTableRequest>(frame);
    case ReadWeightsRequest::kType:
      return decode_and_run<ReadWeightsRequest>(frame);
    case WriteWeightsRequest::kType:
      return decode_and_run<WriteWeightsRequest>(frame);
    case WeightsHashRequest::kType:
      return decode_and_run<WeightsHashRequest>(frame);
    case CommitRequest::kType:
      return decode_and_run<CommitRequest>(frame);
    case ReadEventsRequest::kType:
      return decode_and_run<ReadEventsRequest>(frame);
    case DutyWriteScheduleRequest::kType:
      return decode_and_run<DutyWriteScheduleRequest>(frame);
    case DutyReadScheduleRequest::kType:
      return decode_and_run<DutyReadScheduleRequest>(frame);
    case DutyStartRequest::kType:
      return decode_and_run<DutyStartRequest>(frame);
    case DutyStopRequest::kType:
      return decode_and_run<DutyStopRequest>(frame);
    case DutyStatusRequest::kType:
      return decode_and_run<DutyStatusRequest>(frame);
    case DutyLabelsRequest::kType:
      return decode_and_run<DutyLabelsRequest>(frame);
    case DutyReadEventsRequest::kType:
      return decode_and_run<DutyReadEventsRequest>(frame);
    case DutySamplesRequest::kType:
      return decode_and_run<DutySamplesRequest>(frame);
    case DutyReadSampleRequest::kType:
      return decode_and_run<DutyReadSampleRequest>(frame);
    case ReplaySampleRequest::kType:
      return decode_and_run<ReplaySampleRequest>(frame);
    case ReplayBatteryRequest::kType:
      return decode_and_run<ReplayBatteryRequest>(frame);
    case SensorListRequest::kType:
      return decode_and_run<SensorListRequest>(frame);
    case SensorStartRequest::kType:
      return decode_and_run<SensorStartRequest>(frame);
    case SensorStopRequest::kType:
      return decode_and_run<SensorStopRequest>(frame);
    default:
      return answer_error(Outcome::of(WireStatus::kUnknownRequest, frame.type));
  }
}

// ---- answers

void Dispatcher::answer(uint8_t type, const BodyWriter& body) {
  if (!body.ok()) {
    answer_error(Outcome::of(WireStatus::kBodyTooLong));
    return;
  }
  send_events(true);
  send_duty_events(true);
  response_bytes_ = finish_payload(type, sequence_, body.size(), response_);
  send_kept();
}

void Dispatcher::answer_empty(uint8_t request_type) {
  answer(static_cast<uint8_t>(request_type | 0x80), body());
}

void Dispatcher::answer_error(const Outcome& outcome) {
  Error error;
  error.code = outcome.code;
  error.record = outcome.record;
  error.text = {reinterpret_cast<const uint8_t*>(outcome.text), strlen(outcome.text)};
  answer(error);
}

void Dispatcher::send_kept() { send({response_, response_bytes_}); }

template <typename Notice>
void Dispatcher::notify(const Notice& notice, uint16_t sequence) {
  BodyWriter out({notice_ + kFrameHeaderBytes, kBodyLimit});
  if (notice.encode(out)) {
    send({notice_, finish_payload(Notice::kType, sequence, out.size(), notice_)});
  }
}

template void Dispatcher::notify(const Log& notice, uint16_t sequence);  // for the other files

void Dispatcher::send(Span<const uint8_t> payload) {
  const size_t size = encode_frame(payload, encoded_);
  wire_bytes_ += static_cast<uint32_t>(size);
  last_sent_us_ = clock_.now_us();
  (void)stream_.write(encoded_, size);  // where the other side is gone, the next read says so
}

void Dispatcher::log(LogLevel level, const char* text) {
  constexpr size_t kRoom = kBodyLimit - Log::kFixedBytes;
  const size_t size = strlen(text);
  Log notice;
  notice.level = static_cast<uint8_t>(level);
  notice.text = {reinterpret_cast<const uint8_t*>(text), size < kRoom ? size : kRoom};
  notify(notice, sequence_);
}

void Dispatcher::send_progress() {
  Progress progress;
  progress.done = job_.done;
  progress.total = job_.count;
  notify(progress, sequence_);
}

void Dispatcher::after_phase() {
  serve_sensors();
  if (in_duty_step_) {
    return;  // nobody waits for it
  }
  if (clock_.now_us() - last_sent_us_ >= kProgressEveryUs) {
    send_progress();
  }
}

// ---- events

uint32_t Dispatcher::write_events(uint32_t first, BodyWriter* out) const {
  uint32_t written = 0;
  for (uint32_t i = first; i < events_.count() && out->room() >= PhaseRecord::kFixedBytes; ++i) {
    (void)events_.event(i).encode(*out);
    ++written;
  }
  return written;
}

void Dispatcher::send_events(bool all) {
  constexpr uint32_t kPerFrame = (kBodyLimit - Events::kFixedBytes) / PhaseRecord::kFixedBytes;
  while (events_.enabled() && events_sent_ < events_.count()) {
    if (!all && events_.count() - events_sent_ < kPerFrame) {
      return;
    }
    if (events_sent_ < events_.oldest()) {
      events_sent_ = events_.oldest();
    }
    BodyWriter out({notice_ + kFrameHeaderBytes, kBodyLimit});
    out.u32(events_sent_);
    events_sent_ += write_events(events_sent_, &out);
    send({notice_, finish_payload(Events::kType, sequence_, out.size(), notice_)});
  }
}

void Dispatcher::run(const ReadEventsRequest& request) {
  uint32_t first = request.first;
  if (first < events_.oldest()) {
    first = events_.oldest();
  }
  if (first > events_.count()) {
    first = events_.count();
  }
  BodyWriter out = body();
  out.u32(first);
  (void)write_events(first, &out);
  answer(ReadEventsResponse::kType, out);
}

// ---- long requests

bool Dispatcher::start_job(uint8_t type, Span<const uint8_t> slots) {
  const size_t count = slots.size() / 4;
  if (count > kMaxSlots) {
    answer_error(Outcome::of(WireStatus::kTooManySlots, kMaxSlots));
    return false;
  }
  job_ = Job();
  job_.sequence = sequence_;
  job_.count = static_cast<uint32_t>(count);
  for (size_t i = 0; i < count; ++i) {
    job_.slots[i] = load_u32(slots.data() + 4 * i);
  }
  job_.type = type;
  return true;
}

bool Dispatcher::step() {
  if (job_.type == 0) {
    return step_duty();
  }
  if (job_.done == job_.count) {
    finish_job();
    return true;
  }
  const uint32_t slot = job_.slots[job_.done];
  events_.set_context(job_.sequence, static_cast<uint8_t>(job_.done));
  const Status status =
      job_.type == TrainRequest::kType
          ? step_train(slot)
          : engine_.infer_cached(slot, nullptr, &job_.predictions[job_.done], nullptr);
  if (!status.ok()) {
    fail_job(Outcome::of(status));
    return true;
  }
  ++job_.done;
  send_events(false);
  if (job_.done == job_.count) {
    finish_job();
  }
  return true;
}

void Dispatcher::add(TrainResponse* sum, const TrainResult& sample) {
  sum->loss_q16 += sample.loss_q16;
  sum->samples += 1;
  sum->correct += sample.prediction == sample.label ? 1 : 0;
  sum->skipped += sample.skipped ? 1 : 0;
}

Status Dispatcher::step_train(uint32_t slot) {
  TrainResult sample;
  const Status status = engine_.train_sample(slot, &sample);
  if (!status.ok()) {
    return status;
  }
  add(&job_.result, sample);
  ++job_.since_update;
  const bool last = job_.done + 1 == job_.count;
  if (job_.since_update == job_.update_every || (last && job_.update_at_end)) {
    job_.since_update = 0;
    return engine_.end_batch();
  }
  return {};
}

void Dispatcher::finish_job() {
  const uint8_t type = job_.type;
  job_.type = 0;
  if (type == TrainRequest::kType) {
    job_.result.step = engine_.step();
    answer(job_.result);
    return;
  }
  BodyWriter out = body();
  for (uint32_t i = 0; i < job_.count; ++i) {
    out.u16(job_.predictions[i]);
  }
  answer(EvaluateResponse::kType, out);
}

void Dispatcher::fail_job(const Outcome& outcome) {
  if (job_.type == TrainRequest::kType) {
    engine_.drop_batch();
  }
  job_.type = 0;
  answer_error(outcome);
}

}  // namespace wire
}  // namespace tbft
