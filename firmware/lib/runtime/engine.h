// The engine: one loaded artifact, its arena, inference and fine-tuning. All storage is the
// caller's; nothing is allocated.
//
// Order of calls: load, configure, then any mix of cache_sample, infer*, and batches: train_* B
// times, end_batch. Every call checks its arguments and leaves the engine usable after an error; a
// failed load leaves nothing loaded.
#pragma once

#include <cstdint>

#include "hal/sample_cache.h"
#include "runtime/artifact.h"
#include "runtime/executor.h"
#include "runtime/memory.h"
#include "runtime/phase.h"
#include "runtime/span.h"
#include "runtime/status.h"
#include "runtime/trainer.h"

namespace tbft {

enum class UpdateMode : uint8_t { kAccumulate = 0, kImmediate = 1 };

// Facts about the loaded artifact. The pointers lead into the artifact and live as long as it does.
struct ModelInfo {
  const uint8_t* model_hash = nullptr;  // 32 bytes
  UpdateMode mode = UpdateMode::kAccumulate;
  uint32_t artifact_bytes = 0;
  uint32_t arena_bytes = 0;
  uint32_t persistent_bytes = 0;
  uint32_t input_bytes = 0;
  uint32_t input_height = 0;
  uint32_t input_width = 0;
  uint32_t input_channels = 0;
  uint32_t boundary_bytes = 0;  // size of one cached sample
  uint32_t cache_slots = 0;
  uint32_t classes = 0;
  uint32_t blocks = 0;
  uint32_t trained_tensors = 0;  // two per trained node; the weights of an affine have 0 bytes
  uint32_t trained_bytes = 0;    // all trained tensors one after another
  uint32_t self_tests = 0;
};

struct BlockInfo {
  char name[17] = {};  // NUL-terminated
  bool trained = false;
  uint32_t parameters = 0;
};

struct TrainConfig {
  LearningRate learning_rate;  // lr / B, see set_learning_rate
  uint32_t seed = 0;
};

struct TrainResult {
  uint32_t loss_q16 = 0;    // nats * 65536
  uint16_t prediction = 0;  // before the update; first largest base-2 logit
  uint16_t label = 0;
  bool skipped = false;  // the error was zero everywhere: nothing accumulated or updated
};

class Engine {
 public:
  // `regions`: memory for the arena, fastest first, each aligned to 16 bytes (runtime/memory.h);
  // the array of spans may go, what they point to must stay. `cache` and `listener` may be null:
  // without a cache only train_input and infer work.
  Engine(Span<const Span<uint8_t>> regions, SampleCache* cache, PhaseListener* listener);
  // The same with a single region.
  Engine(Span<uint8_t> arena, SampleCache* cache, PhaseListener* listener)
      : Engine(Span<const Span<uint8_t>>(&arena, 1), cache, listener) {}

  // Validates everything (docs/artifact.md), sizes and empties the cache, resets the weights. The
  // bytes must be aligned to 16 and stay where they are.
  Status load(Span<const uint8_t> artifact);
  bool loaded() const { return loaded_; }
  const ModelInfo& info() const { return info_; }
  BlockInfo block(uint32_t index) const;  // index < info().blocks
  Span<const uint8_t> meta() const;       // UTF-8 JSON for the host

  // Learning rate and seed. Drops a batch in progress; weights and step counter stay.
  Status configure(const TrainConfig& config);
  // lr / B for the batch to come, with B the samples it will really have. Takes effect at
  // end_batch, or in immediate mode at the next sample.
  Status set_learning_rate(LearningRate learning_rate);
  // Initial weights again; step counter, shift states and batch from zero. The cache is kept:
  // frozen layers did not change.
  Status reset_weights();

  // Runs PREFIX once and stores the boundary activation. `input` int8, info().input_bytes.
  Status cache_sample(uint32_t slot, Span<const int8_t> input, uint16_t label);

  // Forward pass. `logits` (int8, info().classes) and `prediction` (first largest logit) may be
  // null. A batch in progress stays.
  Status infer(Span<const int8_t> input, int8_t* logits, uint16_t* prediction);
  Status infer_cached(uint32_t slot, int8_t* logits, uint16_t* prediction, uint16_t* label);

  // One training sample: forward, loss, backward, accumulation; in immediate mode the update too.
  Status train_sample(uint32_t slot, TrainResult* result);
  // The same without the cache: PREFIX runs as well.
  Status train_input(Span<const int8_t> input, uint16_t label, TrainResult* result);
  // Updates the weights from the accumulators and starts the next batch. Does nothing in immediate
  // mode, or with no sample since the last update.
  Status end_batch();
  // Forgets the accumulated gradients of the batch in progress (immediate mode: nothing to forget).
  void drop_batch();
  uint32_t batch_samples() const { return batch_samples_; }

  // Updates done since the weights were loaded, reset or written; restored by a checkpoint.
  uint32_t step() const { return trainer_.step(); }
  void set_step(uint32_t step) { trainer_.set_step(step); }

  // Trained tensors: weights of node k are tensor 2k, its bias 2k + 1. Bytes as in the weight hash:
  // int8, or int32 little-endian.
  TrainedTensor trained_tensor(uint32_t tensor) const;  // tensor < info().trained_tensors
  Status read_trained(uint32_t tensor, uint32_t offset, Span<uint8_t> out) const;
  // Offset and size a multiple of the element size. Values outside [-127, 127] (bias: +-2^30) are
  // refused, and nothing is written. Step counter and shift states go to 0 and the batch is
  // dropped, as after a load.
  Status write_trained(uint32_t tensor, uint32_t offset, Span<const uint8_t> bytes);
  Status weights_sha256(uint8_t out[32]) const;

  // For tests. Accumulators (accumulate mode) and, through the observer, each sample's gradients
  // before accumulation.
  AccumulatorView accumulator(uint32_t tensor) const;
  void set_gradient_observer(GradientObserver* observer) { trainer_.set_observer(observer); }

  // For Checkpoint, which writes trained_tensor().bytes and these in place and then asks whether
  // all values are allowed. The shift states are part of a checkpoint so that training goes on bit
  // for bit where it stopped.
  Span<uint8_t> shift_states() { return executor_.shift_states(); }
  void forget_shift_states() { executor_.reset_states(); }
  bool trained_state_valid();

  // Runs every self-test vector of the artifact; kSelfTestFailed with record = the first vector
  // whose logits differ.
  Status self_test();

  const Artifact& artifact() const { return artifact_; }
  const Memory& memory() const { return memory_; }

 private:
  Status forward_input(Span<const int8_t> input, Phase phase);
  Status load_boundary(uint32_t slot, uint16_t* label);
  Status train_tail(uint16_t label, TrainResult* result);
  void finish_infer(int8_t* logits, uint16_t* prediction);
  void restart();

  Memory memory_;
  SampleCache* cache_;
  PhaseListener* listener_;
  Artifact artifact_;
  Executor executor_;
  Trainer trainer_;
  ModelInfo info_;
  bool loaded_ = false;
  uint32_t batch_samples_ = 0;
};

}  // namespace tbft
