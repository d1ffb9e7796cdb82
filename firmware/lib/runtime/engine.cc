#include "runtime/engine.h"

#include <cstring>

#include "runtime/bytes.h"
#include "runtime/sha256.h"

namespace tbft {
namespace {

constexpr int32_t kMaxBias = 1 << 30;
constexpr int32_t kMaxRateExponent = 1024;

bool bias_valid(const uint8_t* p, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 4) {
    const int32_t value = load_i32(p + i);
    if (value < -kMaxBias || value > kMaxBias) return false;
  }
  return true;
}

bool weights_valid(const uint8_t* p, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) {
    if (p[i] == 0x80) return false;
  }
  return true;
}

bool valid(LearningRate rate) {
  if (rate.mantissa == 0) return rate.exponent == 0;
  return rate.mantissa >= (1u << 30) && rate.mantissa < (1u << 31) &&
         rate.exponent >= -kMaxRateExponent && rate.exponent <= kMaxRateExponent;
}

}  // namespace

Engine::Engine(Span<const Span<uint8_t>> regions, SampleCache* cache, PhaseListener* listener)
    : memory_(regions), cache_(cache), listener_(listener) {}

Status Engine::load(Span<const uint8_t> bytes) {
  const PhaseScope scope(listener_, Phase::kLoad);
  loaded_ = false;
  batch_samples_ = 0;
  info_ = ModelInfo();
  Status status = artifact_.parse(bytes);
  if (!status.ok()) return status;
  RegionBases bases;
  status = memory_.place(artifact_.header(), &bases);
  if (!status.ok()) return status;

  executor_.bind(&artifact_, bases);
  trainer_.bind(&artifact_, bases);
  const Header& header = artifact_.header();
  const Tensor input = artifact_.tensor(header.input);
  info_.model_hash = header.model_hash.data();
  info_.mode = header.immediate ? UpdateMode::kImmediate : UpdateMode::kAccumulate;
  info_.artifact_bytes = header.total_bytes;
  info_.arena_bytes = header.arena_bytes;
  info_.persistent_bytes = header.persistent_bytes;
  info_.input_bytes = input.bytes;
  info_.input_height = input.shape[1];
  info_.input_width = input.shape[2];
  info_.input_channels = input.shape[3];
  info_.boundary_bytes = artifact_.tensor(header.boundary).bytes;
  info_.classes = header.classes;
  info_.blocks = artifact_.blocks();
  info_.trained_tensors = 2 * artifact_.trained_count();
  info_.self_tests = artifact_.self_tests();
  for (uint32_t i = 0; i < info_.trained_tensors; ++i) {
    info_.trained_bytes += static_cast<uint32_t>(trainer_.tensor(i).bytes.size());
  }
  if (cache_ != nullptr && cache_->configure(info_.boundary_bytes))
    info_.cache_slots = cache_->slots();
  loaded_ = true;
  trainer_.set_learning_rate({});
  trainer_.set_seed(0);
  return reset_weights();
}

BlockInfo Engine::block(uint32_t index) const {
  BlockInfo info;
  const BlockRecord record = artifact_.block(index);
  memcpy(info.name, record.name.data(), record.name.size());
  info.trained = record.trained;
  info.parameters = record.parameters;
  return info;
}

Span<const uint8_t> Engine::meta() const {
  return loaded_ ? artifact_.meta() : Span<const uint8_t>();
}

Status Engine::configure(const TrainConfig& config) {
  const Status status = set_learning_rate(config.learning_rate);
  if (!status.ok()) return status;
  trainer_.set_seed(config.seed);
  drop_batch();
  return {};
}

Status Engine::set_learning_rate(LearningRate learning_rate) {
  if (!loaded_) return StatusCode::kNotLoaded;
  if (!valid(learning_rate)) return StatusCode::kBadLearningRate;
  trainer_.set_learning_rate(learning_rate);
  return {};
}

void Engine::drop_batch() {
  if (loaded_) trainer_.clear_accumulators();
  batch_samples_ = 0;
}

// Other weights: what was learnt about their errors' sizes and how far training had come no longer
// holds.
void Engine::restart() {
  executor_.reset_states();
  trainer_.set_step(0);
  drop_batch();
}

Status Engine::reset_weights() {
  if (!loaded_) return StatusCode::kNotLoaded;
  trainer_.reset_weights();
  restart();
  return {};
}

Status Engine::forward_input(Span<const int8_t> input, Phase phase) {
  if (!loaded_) return StatusCode::kNotLoaded;
  if (input.size() != info_.input_bytes) return StatusCode::kBadArgument;
  PhaseScope scope(listener_, phase);
  memcpy(executor_.activation(artifact_.header().input), input.data(), input.size());
  scope.work = executor_.forward(ProgramKind::kPrefix, false);
  if (phase == Phase::kInfer) scope.work.add(executor_.forward(ProgramKind::kTail, false));
  return {};
}

Status Engine::load_boundary(uint32_t slot, uint16_t* label) {
  if (!loaded_) return StatusCode::kNotLoaded;
  if (slot >= info_.cache_slots)
    return info_.cache_slots == 0 ? StatusCode::kCacheFull : StatusCode::kBadSlot;
  if (!cache_->has(slot)) return {StatusCode::kEmptySlot, slot};
  uint8_t* boundary = reinterpret_cast<uint8_t*>(executor_.activation(artifact_.header().boundary));
  if (!cache_->get(slot, boundary, label)) return {StatusCode::kCacheFailed, slot};
  if (*label >= info_.classes) return {StatusCode::kBadLabel, *label};
  return {};
}

Status Engine::cache_sample(uint32_t slot, Span<const int8_t> input, uint16_t label) {
  if (!loaded_) return StatusCode::kNotLoaded;
  if (info_.cache_slots == 0) return StatusCode::kCacheFull;
  if (slot >= info_.cache_slots) return {StatusCode::kBadSlot, slot};
  if (label >= info_.classes) return {StatusCode::kBadLabel, label};
  const Status status = forward_input(input, Phase::kFrozenForward);
  if (!status.ok()) return status;
  const int8_t* boundary = executor_.activation(artifact_.header().boundary);
  if (!cache_->put(slot, reinterpret_cast<const uint8_t*>(boundary), label)) {
    return {StatusCode::kCacheFailed, slot};
  }
  return {};
}

void Engine::finish_infer(int8_t* logits, uint16_t* prediction) {
  const int8_t* output = executor_.activation(artifact_.header().output);
  if (logits != nullptr) memcpy(logits, output, info_.classes);
  if (prediction == nullptr) return;
  uint32_t best = 0;
  for (uint32_t i = 1; i < info_.classes; ++i) {
    if (output[i] > output[best]) best = i;
  }
  *prediction = static_cast<uint16_t>(best);
}

Status Engine::infer(Span<const int8_t> input, int8_t* logits, uint16_t* prediction) {
  const Status status = forward_input(input, Phase::kInfer);
  if (status.ok()) finish_infer(logits, prediction);
  return status;
}

Status Engine::infer_cached(uint32_t slot, int8_t* logits, uint16_t* prediction, uint16_t* label) {
  uint16_t stored = 0;
  const Status status = load_boundary(slot, &stored);
  if (!status.ok()) return status;
  {
    PhaseScope scope(listener_, Phase::kInfer);
    scope.work = executor_.forward(ProgramKind::kTail, false);
  }
  if (label != nullptr) *label = stored;
  finish_infer(logits, prediction);
  return {};
}

Status Engine::train_tail(uint16_t label, TrainResult* result) {
  {
    PhaseScope scope(listener_, Phase::kTrainForward);
    scope.work = executor_.forward(ProgramKind::kTail, true);
  }
  LossResult loss = {};
  {
    PhaseScope scope(listener_, Phase::kBackward);
    scope.work = executor_.backward(label, &trainer_, &loss);
  }
  if (info_.mode == UpdateMode::kImmediate) {
    trainer_.finish_immediate_sample();
  } else {
    ++batch_samples_;
  }
  if (result == nullptr) return {};
  result->loss_q16 =
      loss.loss_q16 > 0xffffffffLL ? 0xffffffffU : static_cast<uint32_t>(loss.loss_q16);
  result->prediction = static_cast<uint16_t>(loss.prediction);
  result->label = label;
  result->skipped = !loss.has_error;
  return {};
}

Status Engine::train_sample(uint32_t slot, TrainResult* result) {
  if (loaded_ && info_.trained_tensors == 0) return StatusCode::kWrongMode;
  uint16_t label = 0;
  const Status status = load_boundary(slot, &label);
  return status.ok() ? train_tail(label, result) : status;
}

Status Engine::train_input(Span<const int8_t> input, uint16_t label, TrainResult* result) {
  if (!loaded_) return StatusCode::kNotLoaded;
  if (info_.trained_tensors == 0) return StatusCode::kWrongMode;
  if (label >= info_.classes) return {StatusCode::kBadLabel, label};
  const Status status = forward_input(input, Phase::kFrozenForward);
  return status.ok() ? train_tail(label, result) : status;
}

Status Engine::end_batch() {
  if (!loaded_) return StatusCode::kNotLoaded;
  if (batch_samples_ == 0) return {};
  PhaseScope scope(listener_, Phase::kUpdate);
  scope.work = trainer_.update();
  batch_samples_ = 0;
  return {};
}

TrainedTensor Engine::trained_tensor(uint32_t tensor) const { return trainer_.tensor(tensor); }

AccumulatorView Engine::accumulator(uint32_t tensor) const { return trainer_.accumulator(tensor); }

Status Engine::read_trained(uint32_t tensor, uint32_t offset, Span<uint8_t> out) const {
  if (!loaded_) return StatusCode::kNotLoaded;
  if (tensor >= info_.trained_tensors) return StatusCode::kOutOfRange;
  const Span<uint8_t> bytes = trainer_.tensor(tensor).bytes;
  if (offset > bytes.size() || out.size() > bytes.size() - offset) return StatusCode::kOutOfRange;
  if (!out.empty()) memcpy(out.data(), bytes.data() + offset, out.size());
  return {};
}

Status Engine::write_trained(uint32_t tensor, uint32_t offset, Span<const uint8_t> bytes) {
  if (!loaded_) return StatusCode::kNotLoaded;
  if (tensor >= info_.trained_tensors) return StatusCode::kOutOfRange;
  const TrainedTensor target = trainer_.tensor(tensor);
  if (offset > target.bytes.size() || bytes.size() > target.bytes.size() - offset) {
    return StatusCode::kOutOfRange;
  }
  if (target.is_bias && (offset % 4 != 0 || bytes.size() % 4 != 0)) return StatusCode::kBadArgument;
  const bool valid_values = target.is_bias ? bias_valid(bytes.data(), bytes.size())
                                           : weights_valid(bytes.data(), bytes.size());
  if (!valid_values) return StatusCode::kBadWeightValue;
  if (!bytes.empty()) memcpy(target.bytes.data() + offset, bytes.data(), bytes.size());
  restart();
  return {};
}

bool Engine::trained_state_valid() {
  for (const uint8_t state : executor_.shift_states()) {
    if (state > kMaxLevel) return false;
  }
  for (uint32_t i = 0; i < info_.trained_tensors; ++i) {
    const TrainedTensor t = trainer_.tensor(i);
    const bool fine = t.is_bias ? bias_valid(t.bytes.data(), t.bytes.size())
                                : weights_valid(t.bytes.data(), t.bytes.size());
    if (!fine) return false;
  }
  return true;
}

Status Engine::weights_sha256(uint8_t out[32]) const {
  if (!loaded_) return StatusCode::kNotLoaded;
  Sha256 hash;
  for (uint32_t i = 0; i < info_.trained_tensors; ++i) {
    const Span<uint8_t> bytes = trainer_.tensor(i).bytes;
    hash.update(bytes.data(), bytes.size());
  }
  hash.finish(out);
  return {};
}

Status Engine::self_test() {
  if (!loaded_) return StatusCode::kNotLoaded;
  for (uint32_t i = 0; i < info_.self_tests; ++i) {
    const Span<const uint8_t> input = artifact_.self_test_input(i);
    const Status status =
        infer({reinterpret_cast<const int8_t*>(input.data()), input.size()}, nullptr, nullptr);
    if (!status.ok()) return status;
    const int8_t* output = executor_.activation(artifact_.header().output);
    if (memcmp(output, artifact_.self_test_logits(i).data(), info_.classes) != 0) {
      return {StatusCode::kSelfTestFailed, i};
    }
  }
  return {};
}

}  // namespace tbft
