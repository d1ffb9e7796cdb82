// The runtime for ctypes: tests drive Engine, Artifact, Checkpoint and the small helpers from
// Python. Calls that return uint64_t give a Status: the code in the low 32 bits, the record above.
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "fake_flash.h"
#include "hal_memory/ram_sample_cache.h"
#include "runtime/checkpoint.h"
#include "runtime/crc32.h"
#include "runtime/engine.h"
#include "runtime/sha256.h"

namespace {

using namespace tbft;

uint64_t pack(Status status) {
  return static_cast<uint64_t>(status.code) | (static_cast<uint64_t>(status.record) << 32);
}

class PhaseCounter final : public PhaseListener {
 public:
  void enter(Phase phase) override {
    // Phases do not nest.
    if (inside_) ++broken_;
    inside_ = true;
    ++counts_[static_cast<size_t>(phase)][0];
  }
  void leave(Phase phase, const Work& work) override {
    if (!inside_) ++broken_;
    inside_ = false;
    uint64_t* row = counts_[static_cast<size_t>(phase)];
    row[1] += work.macs;
    row[2] += work.elements;
    row[3] += work.updates;
    row[4] += work.weight_macs;
    row[5] += work.sums;
    row[6] += work.masks;
  }
  void take(uint64_t* out) {
    memcpy(out, counts_, sizeof counts_);
    memset(counts_, 0, sizeof counts_);
  }
  uint32_t broken() const { return broken_; }

 private:
  uint64_t counts_[kPhaseCount][7] = {};
  bool inside_ = false;
  uint32_t broken_ = 0;
};

// The last sample's gradients, tensor by tensor, rows one after another.
class GradientStore final : public GradientObserver {
 public:
  struct Gradient {
    std::vector<int32_t> values;
    int32_t exponent = 0;
    uint32_t rows = 0;
  };

  void on_row(uint32_t tensor, uint32_t row, const int32_t* gradient, uint32_t count,
              int32_t exponent) override {
    Gradient& g = gradients[tensor];
    const size_t end = (size_t{row} + 1) * count;
    if (g.values.size() < end) g.values.resize(end);
    memcpy(g.values.data() + size_t{row} * count, gradient, sizeof(int32_t) * count);
    g.exponent = exponent;
    ++g.rows;
  }

  std::map<uint32_t, Gradient> gradients;
};

struct alignas(16) Block {
  uint8_t bytes[16];
};

// Exactly `bytes` long to the sanitizers' eyes would need 16-byte malloc alignment, which
// vector<Block> gives.
std::vector<Block> blocks(size_t bytes) { return std::vector<Block>((bytes + 15) / 16); }
uint8_t* data(std::vector<Block>& memory) { return reinterpret_cast<uint8_t*>(memory.data()); }

// Each region is an allocation of its own, so that the sanitizers see its ends.
struct Regions {
  Regions(const size_t* sizes, size_t count) {
    for (size_t i = 0; i < count; ++i) memory.push_back(blocks(sizes[i]));
    for (size_t i = 0; i < count; ++i) spans.emplace_back(data(memory[i]), sizes[i]);
  }

  std::vector<std::vector<Block>> memory;
  std::vector<Span<uint8_t>> spans;
};

struct Board {
  Board(const size_t* region_bytes, size_t regions, size_t cache_bytes)
      : arena(region_bytes, regions),
        cache_storage(cache_bytes),
        cache(cache_storage.data(), cache_bytes),
        engine(Span<const Span<uint8_t>>(arena.spans.data(), arena.spans.size()),
               cache_bytes == 0 ? nullptr : &cache, &phases) {
    engine.set_gradient_observer(&store);
  }

  Regions arena;
  std::vector<uint8_t> cache_storage;
  RamSampleCache cache;
  PhaseCounter phases;
  GradientStore store;
  Engine engine;
  std::vector<Block> artifact;
  std::unique_ptr<FakeFlash> flash;
  std::unique_ptr<Checkpoint> checkpoint;
};

Board* board(void* handle) { return static_cast<Board*>(handle); }

}  // namespace

extern "C" {

const char* tbft_status_text(uint32_t code) { return to_string(static_cast<StatusCode>(code)); }
const char* tbft_phase_text(uint32_t phase) { return to_string(static_cast<Phase>(phase)); }

uint32_t tbft_crc32(uint32_t crc, const uint8_t* bytes, size_t size) {
  return crc32(crc, bytes, size);
}

// The message arrives in pieces of `piece` bytes.
void tbft_sha256(const uint8_t* bytes, size_t size, size_t piece, uint8_t* out) {
  Sha256 hash;
  for (size_t at = 0; at < size; at += piece) {
    hash.update(bytes + at, size - at < piece ? size - at : piece);
  }
  hash.finish(out);
}

void* tbft_board_new(const size_t* region_bytes, size_t regions, size_t cache_bytes) {
  return new Board(region_bytes, regions, cache_bytes);
}
void tbft_board_free(void* handle) { delete board(handle); }

// `shift` moves the copy of the artifact off its alignment.
uint64_t tbft_load(void* handle, const uint8_t* bytes, size_t size, size_t shift) {
  Board* b = board(handle);
  b->artifact = blocks(size + shift);
  if (size != 0) memcpy(data(b->artifact) + shift, bytes, size);
  return pack(b->engine.load({data(b->artifact) + shift, size}));
}

// 16 numbers; `hash` 32 bytes.
void tbft_info(void* handle, uint32_t* out, uint8_t* hash) {
  const ModelInfo& i = board(handle)->engine.info();
  const uint32_t numbers[] = {static_cast<uint32_t>(i.mode),
                              i.artifact_bytes,
                              i.arena_bytes,
                              i.persistent_bytes,
                              i.input_bytes,
                              i.input_height,
                              i.input_width,
                              i.input_channels,
                              i.boundary_bytes,
                              i.cache_slots,
                              i.classes,
                              i.blocks,
                              i.trained_tensors,
                              i.trained_bytes,
                              i.self_tests,
                              board(handle)->engine.loaded()};
  memcpy(out, numbers, sizeof numbers);
  if (i.model_hash != nullptr) memcpy(hash, i.model_hash, 32);
}

void tbft_block(void* handle, uint32_t index, char* name, uint32_t* trained, uint32_t* parameters) {
  const BlockInfo info = board(handle)->engine.block(index);
  memcpy(name, info.name, sizeof info.name);
  *trained = info.trained;
  *parameters = info.parameters;
}

size_t tbft_meta(void* handle, const uint8_t** bytes) {
  const Span<const uint8_t> meta = board(handle)->engine.meta();
  *bytes = meta.data();
  return meta.size();
}

uint64_t tbft_configure(void* handle, uint32_t mantissa, int32_t exponent, uint32_t seed) {
  return pack(board(handle)->engine.configure({{mantissa, exponent}, seed}));
}
uint64_t tbft_set_learning_rate(void* handle, uint32_t mantissa, int32_t exponent) {
  return pack(board(handle)->engine.set_learning_rate({mantissa, exponent}));
}
uint64_t tbft_reset_weights(void* handle) { return pack(board(handle)->engine.reset_weights()); }

uint64_t tbft_cache_sample(void* handle, uint32_t slot, const int8_t* input, size_t size,
                           uint16_t label) {
  return pack(board(handle)->engine.cache_sample(slot, {input, size}, label));
}
uint64_t tbft_infer(void* handle, const int8_t* input, size_t size, int8_t* logits,
                    uint16_t* prediction) {
  return pack(board(handle)->engine.infer({input, size}, logits, prediction));
}
uint64_t tbft_infer_cached(void* handle, uint32_t slot, int8_t* logits, uint16_t* prediction,
                           uint16_t* label) {
  return pack(board(handle)->engine.infer_cached(slot, logits, prediction, label));
}

static uint64_t finish_training(Status status, const TrainResult& result, uint32_t* out) {
  out[0] = result.loss_q16;
  out[1] = result.prediction;
  out[2] = result.label;
  out[3] = result.skipped;
  return pack(status);
}

// out: loss in Q16, prediction, label, skipped.
uint64_t tbft_train_sample(void* handle, uint32_t slot, uint32_t* out) {
  board(handle)->store.gradients.clear();
  TrainResult result;
  const Status status = board(handle)->engine.train_sample(slot, &result);
  return finish_training(status, result, out);
}
uint64_t tbft_train_input(void* handle, const int8_t* input, size_t size, uint16_t label,
                          uint32_t* out) {
  board(handle)->store.gradients.clear();
  TrainResult result;
  const Status status = board(handle)->engine.train_input({input, size}, label, &result);
  return finish_training(status, result, out);
}
uint64_t tbft_end_batch(void* handle) { return pack(board(handle)->engine.end_batch()); }
void tbft_drop_batch(void* handle) { board(handle)->engine.drop_batch(); }
uint32_t tbft_batch_samples(void* handle) { return board(handle)->engine.batch_samples(); }
uint32_t tbft_step(void* handle) { return board(handle)->engine.step(); }
void tbft_set_step(void* handle, uint32_t step) { board(handle)->engine.set_step(step); }

// out: block, kind, is bias, rows, row length, bytes.
void tbft_tensor(void* handle, uint32_t tensor, uint32_t* out) {
  const TrainedTensor t = board(handle)->engine.trained_tensor(tensor);
  const uint32_t numbers[] = {t.block, t.kind,       t.is_bias,
                              t.rows,  t.row_length, static_cast<uint32_t>(t.bytes.size())};
  memcpy(out, numbers, sizeof numbers);
}
uint64_t tbft_read_trained(void* handle, uint32_t tensor, uint32_t offset, uint8_t* out,
                           size_t size) {
  return pack(board(handle)->engine.read_trained(tensor, offset, {out, size}));
}
uint64_t tbft_write_trained(void* handle, uint32_t tensor, uint32_t offset, const uint8_t* bytes,
                            size_t size) {
  return pack(board(handle)->engine.write_trained(tensor, offset, {bytes, size}));
}
uint64_t tbft_weights_sha256(void* handle, uint8_t* out) {
  return pack(board(handle)->engine.weights_sha256(out));
}
uint64_t tbft_self_test(void* handle) { return pack(board(handle)->engine.self_test()); }

// values [rows * row length] and exponents [rows]; returns rows, 0 where there are no accumulators.
uint32_t tbft_accumulator(void* handle, uint32_t tensor, int32_t* values, int32_t* exponents) {
  const AccumulatorView view = board(handle)->engine.accumulator(tensor);
  for (uint32_t i = 0; i < view.rows * view.row_length; ++i) {
    values[i] = view.weights != nullptr ? view.weights[i] : view.bias[i];
  }
  for (uint32_t i = 0; i < view.rows; ++i) exponents[i] = view.exponents[i];
  return view.rows;
}

// Gradient of the last sample: returns the rows seen (0: none) and its exponent; values as in
// tbft_accumulator.
uint32_t tbft_gradient(void* handle, uint32_t tensor, int32_t* values, int32_t* exponent) {
  const auto& all = board(handle)->store.gradients;
  const auto found = all.find(tensor);
  if (found == all.end()) return 0;
  const auto& g = found->second;
  memcpy(values, g.values.data(), g.values.size() * sizeof(int32_t));
  *exponent = g.exponent;
  return g.rows;
}

uint32_t tbft_shift_states(void* handle, uint8_t* out) {
  const Span<uint8_t> states = board(handle)->engine.shift_states();
  if (!states.empty()) memcpy(out, states.data(), states.size());
  return static_cast<uint32_t>(states.size());
}

// [9 phases][times entered, MACs, elements, updates, MACs of weight gradients, sums, masks] since
// the last call; returns how often phases nested.
uint32_t tbft_phases(void* handle, uint64_t* out) {
  board(handle)->phases.take(out);
  return board(handle)->phases.broken();
}

// ---- weight checkpoint on a flash whose power fails ----
void tbft_flash_new(void* handle, uint32_t size, uint32_t erase_unit, uint32_t program_unit) {
  Board* b = board(handle);
  b->flash = std::make_unique<FakeFlash>(size, erase_unit, program_unit);
  b->checkpoint = std::make_unique<Checkpoint>(b->flash.get(), &b->phases);
}
void tbft_flash_cut(void* handle, uint32_t operation, uint32_t how) {
  board(handle)->flash->cut_at(operation, static_cast<Cut>(how));
}
void tbft_flash_fail(void* handle, uint32_t kinds) { board(handle)->flash->fail(kinds); }
void tbft_flash_unreadable(void* handle, uint32_t offset, uint32_t size) {
  board(handle)->flash->make_unreadable(offset, size);
}
uint32_t tbft_flash_is_unreadable(void* handle, uint32_t offset) {
  return board(handle)->flash->is_unreadable(offset);
}
void tbft_flash_readable(void* handle) { board(handle)->flash->make_readable(); }
uint32_t tbft_flash_operations(void* handle) { return board(handle)->flash->operations(); }
uint8_t* tbft_flash_bytes(void* handle) { return board(handle)->flash->bytes().data(); }
uint64_t tbft_commit(void* handle) {
  return pack(board(handle)->checkpoint->commit(&board(handle)->engine));
}
uint64_t tbft_restore(void* handle) {
  return pack(board(handle)->checkpoint->restore(&board(handle)->engine));
}
uint64_t tbft_checkpoint_clear(void* handle) { return pack(board(handle)->checkpoint->clear()); }
uint32_t tbft_checkpoint_sequence(void* handle) { return board(handle)->checkpoint->sequence(); }
uint64_t tbft_checkpoint_needed_bytes(void* handle) {
  return board(handle)->checkpoint->needed_bytes(&board(handle)->engine);
}

}  // extern "C"
