// Hostile artifacts: whatever the loader accepts must then run, forward and backward, without a
// stray access or overflow.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <vector>

#include "hal/sample_cache.h"
#include "runtime/bytes.h"
#include "runtime/crc32.h"
#include "runtime/engine.h"
#include "runtime/sha256.h"

namespace {

using namespace tbft;

constexpr size_t kHeader = 128;
// Two regions, the smaller one first.
constexpr size_t kFastBytes = 24 * 1024;
constexpr size_t kSlowBytes = 64 * 1024;
// Work per input, so that an artifact which is merely slow is not taken for one that hangs.
constexpr uint64_t kMaxWork = 2'000'000;

struct alignas(16) Block {
  uint8_t bytes[16];
};

// One slot, whatever its size.
class OneSample final : public SampleCache {
 public:
  bool configure(uint32_t sample_bytes) override {
    sample_.assign(sample_bytes, 0);
    filled_ = false;
    return true;
  }
  uint32_t slots() const override { return 1; }
  bool put(uint32_t, const uint8_t* sample, uint16_t label) override {
    memcpy(sample_.data(), sample, sample_.size());
    label_ = label;
    filled_ = true;
    return true;
  }
  bool has(uint32_t) const override { return filled_; }
  bool get(uint32_t, uint8_t* sample, uint16_t* label) override {
    memcpy(sample, sample_.data(), sample_.size());
    *label = label_;
    return filled_;
  }

 private:
  std::vector<uint8_t> sample_;
  uint16_t label_ = 0;
  bool filled_ = false;
};

// Length, checksum and model hash as a writer would set them: else no mutation would get past the
// first checks.
void seal(uint8_t* p, size_t size) {
  if (size < kHeader) return;
  store_u32(p + 8, static_cast<uint32_t>(size));
  const uint32_t sections = load_u16(p + 56);
  Sha256 hash;
  for (const uint32_t kind : {1u, 2u, 3u, 5u, 4u}) {
    for (uint32_t i = 0; i < sections && kHeader + 16 * (i + 1) <= size; ++i) {
      const uint8_t* entry = p + kHeader + 16 * i;
      const uint32_t offset = load_u32(entry + 4);
      const uint32_t bytes = load_u32(entry + 8);
      if (load_u32(entry) != kind || offset > size || bytes > size - offset) continue;
      hash.update(p + offset, bytes);
    }
  }
  uint8_t digest[32];
  hash.finish(digest);
  memcpy(p + 16, digest, sizeof digest);
  store_u32(p + 12, crc32(0, p + 16, size - 16));
}

uint64_t work_of(const Artifact& artifact) {
  uint64_t work = 0;
  for (uint32_t i = 0; i < artifact.ops(); ++i) {
    const Op op = artifact.op(i);
    // Whatever the op, its work is bounded by outputs times kernel times channels of the larger
    // operand, twice for a rerun.
    uint64_t largest = 0;
    uint64_t channels = 0;
    for (const uint32_t index : {op.in0, op.in1, op.out}) {
      if (index >= artifact.tensors()) continue;
      const Tensor t = artifact.tensor(index);
      if (t.elements() > largest) largest = t.elements();
      if (t.shape[3] > channels) channels = t.shape[3];
    }
    const uint64_t taps = uint64_t{op.kernel_h + 1} * (op.kernel_w + 1);
    work += 2 * largest * taps * (channels + 1);
    if (op.opcode == Opcode::kMaxPoolBwd) work += largest * taps * taps;
  }
  return work;
}

void drive(Engine& engine) {
  const ModelInfo& info = engine.info();
  std::vector<int8_t> input(info.input_bytes);
  for (size_t i = 0; i < input.size(); ++i) input[i] = static_cast<int8_t>(i * 37 + 11);
  std::vector<int8_t> logits(info.classes);
  uint16_t prediction = 0;
  (void)engine.infer({input.data(), input.size()}, logits.data(), &prediction);
  // The largest rates there are, then a usual one.
  for (const int32_t exponent : {1024, -7, -1024}) {
    (void)engine.configure({{0x7fffffff, exponent}, 7});
    TrainResult result;
    (void)engine.cache_sample(0, {input.data(), input.size()}, 1);
    (void)engine.train_sample(0, &result);
    (void)engine.train_input({input.data(), input.size()}, 0, &result);
    (void)engine.end_batch();
  }
  (void)engine.infer_cached(0, logits.data(), &prediction, nullptr);
  (void)engine.self_test();
  uint8_t digest[32];
  (void)engine.weights_sha256(digest);
  for (uint32_t i = 0; i < info.blocks; ++i) (void)engine.block(i);
  // Weights stay in the range that all bounds of the kernels rest on.
  if (!engine.trained_state_valid()) __builtin_trap();
}

void load_and_run(const std::vector<Block>& file, size_t size) {
  static Block fast[kFastBytes / 16];
  static Block slow[kSlowBytes / 16];
  const Span<uint8_t> regions[] = {{fast[0].bytes, kFastBytes}, {slow[0].bytes, kSlowBytes}};
  OneSample cache;
  Engine engine(Span<const Span<uint8_t>>(regions, 2), &cache, nullptr);
  const Status status = engine.load({reinterpret_cast<const uint8_t*>(file.data()), size});
  if (strcmp(to_string(status.code), "unknown error") == 0) __builtin_trap();
  if (status.ok() && work_of(engine.artifact()) <= kMaxWork) drive(engine);
}

}  // namespace

extern "C" size_t LLVMFuzzerMutate(uint8_t* bytes, size_t size, size_t max_size);

// Most of an artifact is constants, where a change says little. So most mutations change one or two
// fields of the header or of a record: to a neighbouring or extreme value, or to that of another
// record.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* bytes, size_t size, size_t max_size,
                                          unsigned int seed) {
  uint32_t state = seed;
  const auto random = [&state](uint32_t below) {
    state = state * 1664525U + 1013904223U;
    return (state >> 8) % below;
  };
  if (size < kHeader + 16 || random(8) == 0) return LLVMFuzzerMutate(bytes, size, max_size);
  const uint32_t sections = load_u16(bytes + 56) % 16;
  for (uint32_t edits = 1 + random(2); edits > 0; --edits) {
    size_t offset = 48;
    size_t extent = kHeader - 48;
    size_t record = 0;
    const uint8_t* entry = bytes + kHeader + 16 * random(sections + 1);
    if (entry + 16 <= bytes + size && random(8) != 0) {
      const uint32_t kind = load_u32(entry);
      const size_t at = load_u32(entry + 4);
      if (kind >= 2 && kind <= 6 && at < size) {
        offset = at;
        extent = load_u32(entry + 8) < size - at ? load_u32(entry + 8) : size - at;
        record = kind == 4 ? 16 : (kind == 3 || kind == 5) ? 64 : 32;
      }
    }
    if (extent < 4) continue;
    uint8_t* p = bytes + offset + 2 * random(static_cast<uint32_t>(extent / 2 - 1));
    const uint32_t old = load_u16(p);
    constexpr uint32_t kExtremes[] = {0, 1, 0xffff, 0x7fff, 0x8000, 0xff, 16, 0x100};
    switch (random(5)) {
      case 0:
        store_u16(p, old + random(9) - 4);
        break;
      case 1:
        store_u16(p, kExtremes[random(8)]);
        break;
      case 2:
        store_u16(p, old + 16 * (random(65) - 32));
        break;
      case 3:
        p[random(2)] = static_cast<uint8_t>(random(256));
        break;
      default:
        if (record != 0 && extent > record) {
          const size_t from = (static_cast<size_t>(p - bytes) - offset + record) % (extent - 1);
          store_u16(p, load_u16(bytes + offset + from));
        }
        break;
    }
  }
  return size;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  std::vector<Block> file((size + 15) / 16);
  if (size != 0) memcpy(file.data(), bytes, size);
  load_and_run(file, size);
  seal(reinterpret_cast<uint8_t*>(file.data()), size);
  load_and_run(file, size);
  return 0;
}
