// A training run on real images: the artifact and the samples come from files, a line per sample,
// per phase and for the weights at the end goes out. Reads in the folder it is started in
//
//   model.tbfa    the artifact
//   run.bin       little-endian: u32 samples, u32 batch, u32 mantissa and i32 exponent of lr /
//   batch, u32
//                 seed, u32 images to classify at the end; then for each sample its input (int8)
//                 and a u16 label, the two together padded with zeros to a multiple of 16
//
// and writes
//
//   count phase/NAME MACS INSTRUCTIONS WEIGHT_MACS SUMS MASKS ELEMENTS UPDATES
//                                         work of one phase of one sample, or of one update
//   sample NUMBER LOSS PREDICTION         loss in nats * 65536
//   logits NUMBER HEX                     of a sample's image after the training
//   weights SHA256
#include "bare.h"
#include "runtime/engine.h"

namespace {

using tbft::bare::Line;

constexpr size_t kArenaBytes = 2U << 20;
constexpr size_t kArtifactBytes = 1U << 20;
constexpr size_t kRunBytes = 512U << 10;
constexpr size_t kMaxLogits = 64;

alignas(16) uint8_t g_arena[kArenaBytes];
alignas(16) uint8_t g_artifact[kArtifactBytes];
alignas(16) uint8_t g_run[kRunBytes];

struct Run {
  uint32_t samples;
  uint32_t batch;
  tbft::LearningRate rate;
  uint32_t seed;
  uint32_t images;
};
constexpr size_t kRunHeaderBytes = 24;

uint32_t word(size_t offset) {
  return static_cast<uint32_t>(g_run[offset] | g_run[offset + 1] << 8 | g_run[offset + 2] << 16) |
         static_cast<uint32_t>(g_run[offset + 3]) << 24;
}

class PhaseCounter final : public tbft::PhaseListener {
 public:
  void enter(tbft::Phase) override { counter_.begin(); }
  void leave(tbft::Phase phase, const tbft::Work& work) override {
    const uint64_t instructions = counter_.end();
    Line()
        .text("count phase/")
        .text(tbft::to_string(phase))
        .text(" ")
        .number(static_cast<int64_t>(work.macs))
        .text(" ")
        .number(static_cast<int64_t>(instructions))
        .text(" ")
        .number(static_cast<int64_t>(work.weight_macs))
        .text(" ")
        .number(static_cast<int64_t>(work.sums))
        .text(" ")
        .number(static_cast<int64_t>(work.masks))
        .text(" ")
        .number(static_cast<int64_t>(work.elements))
        .text(" ")
        .number(static_cast<int64_t>(work.updates));
  }

 private:
  tbft::bare::Counter counter_;
};

void check(tbft::Status status, const char* what) {
  if (status.ok()) return;
  Line().text("error: ").text(what).text(": status ").number(static_cast<int64_t>(status.code));
  tbft::bare::stop(1);
}

struct Sample {
  tbft::Span<const int8_t> input;
  uint16_t label;
};

class Samples {
 public:
  explicit Samples(uint32_t input_bytes)
      : input_bytes_(input_bytes), record_bytes_((input_bytes + 2 + 15) & ~uint32_t{15}) {}
  size_t bytes(uint32_t count) const { return kRunHeaderBytes + size_t{count} * record_bytes_; }
  Sample operator[](uint32_t number) const {
    const uint8_t* const record = g_run + bytes(number);
    const uint8_t* const label = record + input_bytes_;
    return {{reinterpret_cast<const int8_t*>(record), input_bytes_},
            static_cast<uint16_t>(label[0] | label[1] << 8)};
  }

 private:
  uint32_t input_bytes_;
  uint32_t record_bytes_;
};

void train(tbft::Engine& engine, const Samples& samples, const Run& run) {
  for (uint32_t i = 0; i < run.samples; ++i) {
    const Sample sample = samples[i];
    tbft::TrainResult result;
    check(engine.train_input(sample.input, sample.label, &result), "training");
    Line()
        .text("sample ")
        .number(i)
        .text(" ")
        .number(result.loss_q16)
        .text(" ")
        .number(result.prediction);
    if ((i + 1) % run.batch == 0) check(engine.end_batch(), "update");
  }
  check(engine.end_batch(), "update");
}

void classify(tbft::Engine& engine, const Samples& samples, const Run& run) {
  int8_t logits[kMaxLogits];
  for (uint32_t i = 0; i < run.images; ++i) {
    check(engine.infer(samples[i].input, logits, nullptr), "classification");
    Line().text("logits ").number(i).text(" ").hex(reinterpret_cast<const uint8_t*>(logits),
                                                   engine.info().classes);
  }
}

}  // namespace

int main() {
  const int64_t size = tbft::bare::read_file("model.tbfa", g_artifact, sizeof g_artifact);
  const int64_t run_size = tbft::bare::read_file("run.bin", g_run, sizeof g_run);
  if (size < 0 || run_size < static_cast<int64_t>(kRunHeaderBytes)) {
    Line().text("error: model.tbfa or run.bin cannot be read, or is too large for this program");
    return 1;
  }
  const Run run = {word(0), word(4), {word(8), static_cast<int32_t>(word(12))}, word(16), word(20)};
  PhaseCounter phases;
  static tbft::Engine engine({g_arena, sizeof g_arena}, nullptr, &phases);
  check(engine.load({g_artifact, static_cast<size_t>(size)}), "loading");
  const Samples samples(engine.info().input_bytes);
  const uint32_t records = run.samples > run.images ? run.samples : run.images;
  if (run.batch == 0 || engine.info().classes > kMaxLogits ||
      static_cast<uint64_t>(run_size) < samples.bytes(records)) {
    Line().text("error: run.bin does not fit the artifact");
    return 1;
  }
  check(engine.configure({run.rate, run.seed}), "configuring");
  train(engine, samples, run);
  classify(engine, samples, run);
  uint8_t hash[32];
  check(engine.weights_sha256(hash), "hashing");
  Line().text("weights ").hex(hash, sizeof hash);
  Line().text("training_step on ").text(tbft::bare::board()).text(": done");
  return 0;
}
