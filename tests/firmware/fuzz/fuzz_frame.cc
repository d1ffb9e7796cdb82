// Bytes from the port into decoder and dispatcher, over an engine with a small artifact, or with
// none.
//
// Input: byte 0 bit 0: load an artifact first (bit 2: which of two); bit 1: the rest is taken as
// frames' contents (u8 type, u16 length, body), which are framed here, so that the fuzzer gets past
// CRC and COBS; else it is the raw stream. Bit 7 of the type: the next frame comes before the long
// request is through. Bit 15 of the length: the frame is sent twice; bit 14: in another version.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "duty/scheduler.h"
#include "hal/byte_stream.h"
#include "hal/clock.h"
#include "hal/flash.h"
#include "hal/sample_cache.h"
#include "hal_virtual/replay.h"
#include "hal_virtual/virtual_time.h"
#include "runtime/bytes.h"
#include "runtime/checkpoint.h"
#include "runtime/crc32.h"
#include "runtime/engine.h"
#include "runtime/flash_area.h"
#include "wire/artifact_loader.h"
#include "wire/counting_flash.h"
#include "wire/dispatcher.h"
#include "wire/event_recorder.h"
#include "wire/frame.h"

namespace {

using tbft::Span;
namespace wire = tbft::wire;

constexpr size_t kStoreBytes = 32U << 10;
constexpr size_t kArenaBytes = 16U << 10;
constexpr size_t kCacheBytes = 4U << 10;
constexpr uint32_t kWeightsBytes = 16U << 10;
constexpr uint32_t kScheduleBytes = 8U << 10;
constexpr uint32_t kSampleStoreBytes = 24U << 10;
constexpr size_t kFlashBytes = kWeightsBytes + kScheduleBytes + kSampleStoreBytes;
// Enough for the longest request, and for some wakes of duty-cycled operation.
constexpr int kMaxSteps = 72;

// Checks that everything the device says is well-formed.
class CheckingStream final : public tbft::ByteStream {
 public:
  int32_t read(uint8_t*, size_t, uint32_t) override { return kClosed; }
  bool write(const uint8_t* data, size_t size) override {
    for (size_t i = 0; i < size; ++i) {
      const wire::FrameResult result = decoder_.push(data[i]);
      if (result != wire::FrameResult::kPending && result != wire::FrameResult::kFrame) {
        abort();
      }
    }
    return true;
  }

 private:
  wire::FrameDecoder decoder_;
};

class CountingClock final : public tbft::Clock {
 public:
  uint64_t now_us() override { return now_ += 1000; }

 private:
  uint64_t now_ = 0;
};

class SmallCache final : public tbft::SampleCache {
 public:
  bool configure(uint32_t sample_bytes) override {
    memset(filled_, 0, sizeof filled_);
    sample_bytes_ = sample_bytes;
    slots_ = sample_bytes == 0 ? 0 : static_cast<uint32_t>(kCacheBytes / sample_bytes);
    slots_ = slots_ < kMaxSlots ? slots_ : kMaxSlots;
    return slots_ > 0;
  }
  uint32_t slots() const override { return slots_; }
  bool put(uint32_t slot, const uint8_t* sample, uint16_t label) override {
    if (slot >= slots_) {
      return false;
    }
    memcpy(memory_ + size_t{slot} * sample_bytes_, sample, sample_bytes_);
    labels_[slot] = label;
    filled_[slot] = true;
    return true;
  }
  bool has(uint32_t slot) const override { return slot < slots_ && filled_[slot]; }
  bool get(uint32_t slot, uint8_t* sample, uint16_t* label) override {
    if (!has(slot)) {
      return false;
    }
    memcpy(sample, memory_ + size_t{slot} * sample_bytes_, sample_bytes_);
    *label = labels_[slot];
    return true;
  }

 private:
  static constexpr uint32_t kMaxSlots = 64;
  uint8_t memory_[kCacheBytes];
  uint16_t labels_[kMaxSlots];
  bool filled_[kMaxSlots];
  uint32_t sample_bytes_ = 0;
  uint32_t slots_ = 0;
};

class SmallFlash final : public tbft::Flash {
 public:
  uint32_t size_bytes() const override { return kFlashBytes; }
  uint32_t erase_bytes() const override { return 4096; }
  uint32_t program_bytes() const override { return 4; }
  bool erase(uint32_t offset, uint32_t size) override {
    memset(bytes_ + offset, 0xff, size);
    return true;
  }
  bool program(uint32_t offset, const uint8_t* data, uint32_t size) override {
    memcpy(bytes_ + offset, data, size);
    return true;
  }
  bool read(uint32_t offset, uint8_t* data, uint32_t size) override {
    memcpy(data, bytes_ + offset, size);
    return true;
  }

 private:
  uint8_t bytes_[kFlashBytes] = {};
};

alignas(16) uint8_t g_store[kStoreBytes];
alignas(16) uint8_t g_arena[kArenaBytes];
int8_t g_input[4096];
wire::PhaseRecord g_events[16];
SmallCache g_cache;
SmallFlash g_flash;
uint8_t g_replay[2048];
tbft::BatteryPoint g_battery[4];
tbft::duty::StoredSample g_stored[16];
tbft::duty::TuneItem g_items[8];
wire::DutyEvent g_duty_events[8];

// One of the seeds of fuzz_artifact, which are made anew with the artifact format.
uint32_t read_artifact(const char* name, uint8_t* out, size_t capacity) {
  const char* source = __FILE__;
  const size_t folder = strlen(source) - strlen("fuzz_frame.cc");
  char path[4096];
  const int length =
      snprintf(path, sizeof path, "%.*scorpus/artifact/%s", static_cast<int>(folder), source, name);
  FILE* file =
      length > 0 && static_cast<size_t>(length) < sizeof path ? fopen(path, "rb") : nullptr;
  const size_t size = file != nullptr ? fread(out, 1, capacity, file) : 0;
  if (size == 0 || size == capacity) {
    fprintf(stderr, "%s cannot be read, or is too large\n", path);
    abort();
  }
  fclose(file);
  return static_cast<uint32_t>(size);
}

void feed_frames(wire::Dispatcher& dispatcher, Span<const uint8_t> data) {
  uint16_t sequence = 0;
  size_t at = 0;
  while (at + 3 <= data.size()) {
    const uint8_t type = data[at];
    const size_t wanted =
        (size_t{data[at + 1]} | (size_t{data[at + 2] & 0x3fU} << 8)) % (wire::kBodyLimit + 1);
    const bool twice = (data[at + 2] & 0x80) != 0;
    const bool other_version = (data[at + 2] & 0x40) != 0;
    at += 3;
    const size_t size = wanted < data.size() - at ? wanted : data.size() - at;
    uint8_t payload[wire::kMaxPayload];
    uint8_t encoded[wire::kMaxEncoded];
    const size_t payload_bytes = wire::make_payload(static_cast<uint8_t>(type & 0x7f), ++sequence,
                                                    data.subspan(at, size), payload);
    if (other_version) {
      payload[0] = wire::kProtocolVersion + 1;
      const size_t covered = payload_bytes - wire::kFrameCrcBytes;
      tbft::store_u32(payload + covered, tbft::crc32(0, payload, covered));
    }
    const Span<const uint8_t> frame(encoded, wire::encode_frame({payload, payload_bytes}, encoded));
    dispatcher.receive(frame);
    at += size;
    for (int i = 0; i < kMaxSteps && dispatcher.step(); ++i) {
      if ((type & 0x80) != 0) {
        break;
      }
    }
    if (twice) {
      dispatcher.receive(frame);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) {
    return 0;
  }
  g_flash = SmallFlash();  // an input must not depend on those before it
  CountingClock clock;
  CheckingStream stream;
  wire::EventRecorder events(clock, nullptr, {g_events, sizeof g_events / sizeof g_events[0]});
  wire::CountingFlash flash(g_flash, events);
  tbft::Engine engine({g_arena, sizeof g_arena}, &g_cache, &events);
  tbft::FlashArea weights_flash(flash, 0, kWeightsBytes);
  tbft::FlashArea schedule_flash(flash, kWeightsBytes, kScheduleBytes);
  tbft::FlashArea sample_flash(flash, kWeightsBytes + kScheduleBytes, kSampleStoreBytes);
  tbft::Checkpoint checkpoint(&weights_flash, &events);
  wire::RamArtifactStore store({g_store, sizeof g_store});
  wire::ArtifactLoader loader(engine, store, &checkpoint);
  wire::BoardInfo board;
  board.board = "fuzz";
  board.firmware = "a version that is longer than the field that it has to go into";
  wire::Dispatcher dispatcher(board, engine, loader, &checkpoint, events, {g_input, sizeof g_input},
                              stream, clock);
  tbft::VirtualTime time(clock);
  tbft::Replay replay(g_replay, sizeof g_replay, g_battery, 4);
  tbft::duty::ScheduleStore schedule(&schedule_flash);
  tbft::duty::SampleStore samples(&sample_flash, {g_stored, 16});
  tbft::duty::Scheduler scheduler(
      {engine, checkpoint, schedule, samples, replay, &replay, time, &events},
      {g_input, sizeof g_input}, {g_items, 8});
  dispatcher.set_duty({&scheduler, &replay, {g_duty_events, 8}});
  if ((data[0] & 1) != 0) {
    static uint8_t artifacts[2][kStoreBytes];
    static const uint32_t artifact_bytes[2] = {
        read_artifact("small1-all-accumulate.tbfa", artifacts[0], kStoreBytes),
        read_artifact("small4-all-immediate.tbfa", artifacts[1], kStoreBytes)};
    const int which = (data[0] >> 2) & 1;
    memcpy(g_store, artifacts[which], artifact_bytes[which]);
    if (!loader.load_stored(artifact_bytes[which]).ok()) {
      abort();  // the artifact format has changed: make the seeds anew
    }
  }
  const Span<const uint8_t> rest(data + 1, size - 1);
  if ((data[0] & 2) != 0) {
    feed_frames(dispatcher, rest);
  } else {
    dispatcher.receive(rest);
    for (int i = 0; i < kMaxSteps && dispatcher.step(); ++i) {
    }
  }
  return 0;
}
