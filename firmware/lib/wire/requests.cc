// The requests of the dispatcher, one run() each.
#include <cstring>

#include "runtime/bytes.h"
#include "wire/dispatcher.h"

namespace tbft {
namespace wire {
namespace {

constexpr uint8_t kConfigureEvents = 1;
constexpr uint8_t kConfigureReset = 2;
constexpr uint8_t kCacheForEvaluation = 1;
constexpr uint8_t kTrainUpdate = 1;
constexpr uint8_t kIdentifyCanCommit = 1;
constexpr uint8_t kIdentifyRestored = 2;

// At most size − 1 bytes, the rest stays 0.
void copy_text(const char* text, uint8_t* out, size_t size) {
  const size_t length = strlen(text);
  memcpy(out, text, length < size ? length : size - 1);
}

}  // namespace

void Dispatcher::run(const IdentifyRequest&) {
  IdentifyResponse answer_body;
  answer_body.protocol_version = kProtocolVersion;
  answer_body.load_code = loader_.loaded().code;
  answer_body.load_record = loader_.loaded().record;
  copy_text(board_.board, answer_body.board, sizeof answer_body.board);
  copy_text(board_.firmware, answer_body.firmware, sizeof answer_body.firmware);
  answer_body.clock_hz = board_.clock_hz;
  const Memory& memory = engine_.memory();
  uint8_t regions[kMaxRegions * sizeof(uint32_t)];
  for (uint32_t i = 0; i < memory.count(); ++i) {
    store_u32(regions + sizeof(uint32_t) * i, static_cast<uint32_t>(memory.bytes(i)));
  }
  answer_body.region_limit_bytes = {regions, sizeof(uint32_t) * memory.count()};
  answer_body.arena_limit_bytes = static_cast<uint32_t>(memory.total_bytes());
  answer_body.arena_bytes = loader_.arena_bytes();
  answer_body.artifact_limit_bytes = loader_.capacity();
  answer_body.input_limit_bytes = static_cast<uint32_t>(input_.size());
  if (engine_.loaded()) {
    const ModelInfo& info = engine_.info();
    memcpy(answer_body.model_hash, info.model_hash, sizeof answer_body.model_hash);
    answer_body.persistent_bytes = info.persistent_bytes;
    answer_body.artifact_bytes = info.artifact_bytes;
    answer_body.input_bytes = info.input_bytes;
    answer_body.input_height = static_cast<uint16_t>(info.input_height);
    answer_body.input_width = static_cast<uint16_t>(info.input_width);
    answer_body.input_channels = static_cast<uint16_t>(info.input_channels);
    answer_body.classes = static_cast<uint16_t>(info.classes);
    answer_body.cache_slots = info.cache_slots;
    answer_body.cached_sample_bytes = info.boundary_bytes;
    answer_body.trained_tensors = static_cast<uint16_t>(info.trained_tensors);
    answer_body.update_mode = static_cast<uint8_t>(info.mode);
    answer_body.trained_bytes = info.trained_bytes;
    answer_body.step = engine_.step();
  }
  answer_body.flags = static_cast<uint8_t>((checkpoint_ != nullptr ? kIdentifyCanCommit : 0) |
                                           (loader_.restored() ? kIdentifyRestored : 0));
  answer_body.event_limit = events_.capacity();
  answer_body.body_limit = kBodyLimit;
  answer(answer_body);
}

void Dispatcher::run(const AbortRequest&) {
  if (sensors_ != nullptr) {
    sensors_->stop();
  }
  if (duty_.scheduler != nullptr) {
    duty_.scheduler->pause();
  }
  engine_.drop_batch();
  input_received_ = 0;
  answer_empty(AbortRequest::kType);
}

void Dispatcher::run(const ConfigureRequest& request) {
  TrainConfig config;
  config.seed = request.seed;
  Status status = engine_.configure(config);
  if (status.ok() && (request.flags & kConfigureReset) != 0) {
    status = engine_.reset_weights();
    loader_.weights_replaced();
  }
  if (!status.ok()) {
    return answer_error(Outcome::of(status));
  }
  events_.restart((request.flags & kConfigureEvents) != 0);
  events_sent_ = 0;
  ConfigureResponse response;
  response.step = engine_.step();
  answer(response);
}

void Dispatcher::run(const BoardStatusRequest&) {
  BoardStatusResponse response;
  response.flash_bytes = board_.flash_bytes;
  response.static_ram_bytes = board_.static_ram_bytes;
  response.static_psram_bytes = board_.static_psram_bytes;
  response.stack_bytes = board_.stack_bytes;
  if (board_.stack_used_bytes != nullptr) {
    response.stack_used_bytes = board_.stack_used_bytes();
  }
  answer(response);
}

// ---- artifact

void Dispatcher::run(const ArtifactBeginRequest& request) {
  input_received_ = 0;
  const Outcome outcome = loader_.begin(request);
  if (!outcome.ok()) {
    return answer_error(outcome);
  }
  ArtifactBeginResponse response;
  response.received = loader_.received();
  answer(response);
}

void Dispatcher::run(const ArtifactChunkRequest& request) {
  const Outcome outcome = loader_.chunk(request);
  if (!outcome.ok()) {
    return answer_error(outcome);
  }
  ArtifactChunkResponse response;
  response.received = loader_.received();
  answer(response);
}

void Dispatcher::run(const ArtifactEndRequest&) {
  const Outcome outcome = loader_.end();
  if (!outcome.ok()) {
    return answer_error(outcome);
  }
  ArtifactEndResponse response;
  memcpy(response.model_hash, engine_.info().model_hash, sizeof response.model_hash);
  answer(response);
}

void Dispatcher::run(const SelfTestRequest&) {
  const Status status = engine_.self_test();
  if (!status.ok()) {
    return answer_error(Outcome::of(status));
  }
  SelfTestResponse response;
  response.vectors = engine_.info().self_tests;
  answer(response);
}

// ---- inputs

void Dispatcher::run(const InputChunkRequest& request) {
  if (!engine_.loaded()) {
    return answer_error(Outcome::of(Status(StatusCode::kNotLoaded)));
  }
  const uint32_t total = engine_.info().input_bytes;
  if (total > input_.size()) {
    return answer_error(
        Outcome::of(WireStatus::kInputTooLarge, static_cast<uint32_t>(input_.size())));
  }
  if (request.offset == 0) {
    input_received_ = 0;
    load_start_us_ = frame_start_us_;
    load_start_bytes_ = frame_start_bytes_;
  }
  if (request.offset != input_received_ || request.pixels.size() > total - input_received_) {
    return answer_error(Outcome::of(WireStatus::kIncompleteInput, input_received_));
  }
  for (size_t i = 0; i < request.pixels.size(); ++i) {
    input_[input_received_ + i] = static_cast<int8_t>(request.pixels[i] - 128);
  }
  input_received_ += static_cast<uint32_t>(request.pixels.size());
  InputChunkResponse response;
  response.received = input_received_;
  answer(response);
}

// Whether the whole input is there; else answers with an error. Ends the load phase.
bool Dispatcher::input_complete() {
  if (!engine_.loaded()) {
    answer_error(Outcome::of(Status(StatusCode::kNotLoaded)));
    return false;
  }
  if (input_received_ != engine_.info().input_bytes) {
    answer_error(Outcome::of(WireStatus::kIncompleteInput, input_received_));
    return false;
  }
  if (load_start_us_ != 0) {
    events_.record(Phase::kLoad, load_start_us_, clock_.now_us(), wire_bytes_ - load_start_bytes_);
    load_start_us_ = 0;
  }
  return true;
}

void Dispatcher::run(const CacheInputRequest& request) {
  if (!input_complete()) {
    return;
  }
  events_.set_evaluation((request.flags & kCacheForEvaluation) != 0);
  const Status status =
      engine_.cache_sample(request.slot, {input_.data(), input_received_}, request.label);
  events_.set_evaluation(false);
  if (!status.ok()) {
    return answer_error(Outcome::of(status));
  }
  answer_empty(CacheInputRequest::kType);
}

void Dispatcher::run(const InferInputRequest&) {
  if (!input_complete()) {
    return;
  }
  int8_t logits[kMaxClasses];
  const Status status = engine_.infer({input_.data(), input_received_}, logits, nullptr);
  if (!status.ok()) {
    return answer_error(Outcome::of(status));
  }
  InferInputResponse response;
  response.logits = {reinterpret_cast<const uint8_t*>(logits), engine_.info().classes};
  answer(response);
}

void Dispatcher::run(const InferSlotRequest& request) {
  int8_t logits[kMaxClasses];
  const Status status = engine_.infer_cached(request.slot, logits, nullptr, nullptr);
  if (!status.ok()) {
    return answer_error(Outcome::of(status));
  }
  InferSlotResponse response;
  response.logits = {reinterpret_cast<const uint8_t*>(logits), engine_.info().classes};
  answer(response);
}

// ---- training

void Dispatcher::run(const TrainRequest& request) {
  LearningRate rate;
  rate.mantissa = request.lr_mantissa;
  rate.exponent = request.lr_exponent;
  const Status status = engine_.set_learning_rate(rate);
  if (!status.ok()) {
    engine_.drop_batch();
    return answer_error(Outcome::of(status));
  }
  if (!start_job(TrainRequest::kType, request.slots)) {
    engine_.drop_batch();
    return;
  }
  job_.update_every = request.update_every;
  job_.update_at_end = (request.flags & kTrainUpdate) != 0;
}

void Dispatcher::run(const TrainInputRequest& request) {
  if (!input_complete()) {
    return;
  }
  LearningRate rate;
  rate.mantissa = request.lr_mantissa;
  rate.exponent = request.lr_exponent;
  Status status = engine_.set_learning_rate(rate);
  TrainResult sample;
  if (status.ok()) {
    status = engine_.train_input({input_.data(), input_received_}, request.label, &sample);
  }
  if (status.ok() && (request.flags & kTrainUpdate) != 0) {
    status = engine_.end_batch();
  }
  if (!status.ok()) {
    engine_.drop_batch();
    return answer_error(Outcome::of(status));
  }
  TrainResponse sum;
  add(&sum, sample);
  TrainInputResponse response;
  response.loss_q16 = sum.loss_q16;
  response.samples = sum.samples;
  response.correct = sum.correct;
  response.skipped = sum.skipped;
  response.step = engine_.step();
  answer(response);
}

void Dispatcher::run(const EvaluateRequest& request) {
  (void)start_job(EvaluateRequest::kType, request.slots);
}

// ---- weights

void Dispatcher::run(const TensorTableRequest& request) {
  BodyWriter out = body();
  const uint32_t tensors = engine_.loaded() ? engine_.info().trained_tensors : 0;
  for (uint32_t i = request.first; i < tensors && out.room() >= TensorRecord::kFixedBytes; ++i) {
    const TrainedTensor tensor = engine_.trained_tensor(i);
    TensorRecord record;
    record.kind = static_cast<uint8_t>(tensor.kind);
    record.is_bias = tensor.is_bias ? 1 : 0;
    record.block = static_cast<uint16_t>(tensor.block);
    record.rows = tensor.rows;
    record.row_length = tensor.row_length;
    record.bytes = static_cast<uint32_t>(tensor.bytes.size());
    (void)record.encode(out);
  }
  answer(TensorTableResponse::kType, out);
}

void Dispatcher::run(const ReadWeightsRequest& request) {
  if (request.length > kBodyLimit) {
    return answer_error(Outcome::of(WireStatus::kBodyTooLong, kBodyLimit));
  }
  BodyWriter out = body();
  uint8_t* data = out.take(request.length);
  const Status status =
      engine_.read_trained(request.tensor, request.offset, {data, request.length});
  if (!status.ok()) {
    return answer_error(Outcome::of(status));
  }
  answer(ReadWeightsResponse::kType, out);
}

void Dispatcher::run(const WriteWeightsRequest& request) {
  const Status status = engine_.write_trained(request.tensor, request.offset, request.data);
  if (!status.ok()) {
    return answer_error(Outcome::of(status));
  }
  loader_.weights_replaced();
  answer_empty(WriteWeightsRequest::kType);
}

void Dispatcher::run(const WeightsHashRequest&) {
  WeightsHashResponse response;
  const Status status = engine_.weights_sha256(response.sha256);
  if (!status.ok()) {
    return answer_error(Outcome::of(status));
  }
  answer(response);
}

void Dispatcher::run(const CommitRequest&) {
  if (checkpoint_ == nullptr) {
    return answer_error(Outcome::of(WireStatus::kNoFlash));
  }
  const uint32_t before = events_.total_flash_bytes();
  const Status status = checkpoint_->commit(&engine_);
  if (!status.ok()) {
    return answer_error(Outcome::of(status));
  }
  CommitResponse response;
  response.flash_bytes = events_.total_flash_bytes() - before;
  answer(response);
}

}  // namespace wire
}  // namespace tbft
