// clang-format off
// The messages of the wire protocol. Generated from host/protocol/messages.toml by `python -m host.protocol.generate`; do not edit.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/span.h"
#include "wire/body.h"

namespace tbft {
namespace wire {

constexpr uint8_t kProtocolVersion = 2;
constexpr size_t kBodyLimit = 1024;  // bytes
constexpr size_t kMaxSlots = 64;  // slots in one request

// Status codes of the protocol; those below 128 are the runtime's (runtime/status.h).
enum class WireStatus : uint16_t {
  kUnknownRequest = 128,
  kBadBody = 129,
  kBusy = 130,
  kAborted = 131,
  kWrongVersion = 132,
  kIncompleteInput = 133,
  kArtifactTooLarge = 134,
  kArtifactOrder = 135,
  kArtifactHash = 136,
  kNoFlash = 137,
  kStoreFailed = 138,
  kTooManySlots = 139,
  kInputTooLarge = 140,
  kBodyTooLong = 141,
  kNoSensor = 150,
  kSensorFailed = 151,
  kDutyRunning = 142,
  kNoDuty = 143,
  kNoReplay = 144,
  kReplayFull = 145,
};

inline const char* to_string(WireStatus status) {
  switch (status) {
    case WireStatus::kUnknownRequest:
      return "the request is unknown to this firmware";
    case WireStatus::kBadBody:
      return "the body of the request has the wrong length";
    case WireStatus::kBusy:
      return "another request is being executed";
    case WireStatus::kAborted:
      return "aborted";
    case WireStatus::kWrongVersion:
      return "the frame is of another protocol version";
    case WireStatus::kIncompleteInput:
      return "the input was not uploaded completely";
    case WireStatus::kArtifactTooLarge:
      return "the artifact is larger than the board's room for it";
    case WireStatus::kArtifactOrder:
      return "the artifact's bytes came out of order";
    case WireStatus::kArtifactHash:
      return "the artifact's SHA-256 is not the one announced";
    case WireStatus::kNoFlash:
      return "the board has no flash for weights";
    case WireStatus::kStoreFailed:
      return "the artifact could not be stored";
    case WireStatus::kTooManySlots:
      return "the request names more slots than allowed";
    case WireStatus::kInputTooLarge:
      return "the input is larger than the board's room for it";
    case WireStatus::kBodyTooLong:
      return "the answer does not fit a frame";
    case WireStatus::kNoSensor:
      return "the board has no current sensor of this number";
    case WireStatus::kSensorFailed:
      return "the current sensor failed";
    case WireStatus::kDutyRunning:
      return "duty-cycled operation is running; stop or pause it first";
    case WireStatus::kNoDuty:
      return "the board has no duty-cycled operation";
    case WireStatus::kNoReplay:
      return "the board takes its own samples and has no memory for replayed ones";
    case WireStatus::kReplayFull:
      return "the replayed sample or battery reading does not fit, or comes out of order";
  }
  return "unknown status";
}

// One entry of the schedule. Unused fields are 0.
struct ScheduleEntry {
  static constexpr size_t kFixedBytes = 40;
  uint8_t action = 0;  // 1 take a sample, classify and keep it; 2 fine-tune and commit
  uint8_t condition = 0;  // 0 none; others are for conditions to come
  uint8_t min_battery_percent = 0;  // 0: whatever the battery
  uint8_t reserved = 0;
  uint32_t period_s = 0;  // 1 to 2,678,400
  uint32_t first_s = 0;  // first time, after the start
  uint16_t quiet_from_min = 0;  // minutes of the day between which it is not done, over midnight too; equal: none
  uint16_t quiet_to_min = 0;
  uint16_t min_battery_mv = 0;  // 0: whatever the battery
  uint16_t min_labelled = 0;  // fine-tune: labelled samples that are new, at least 1
  uint16_t max_samples = 0;  // fine-tune: at most so many of them, oldest label first
  uint16_t rehearse = 0;  // fine-tune: older ones to train on along with them, newest label first
  uint16_t epochs = 0;  // fine-tune: 1 to 1,000
  uint16_t batch = 0;  // fine-tune: 1 to 4,096 samples per weight update
  uint32_t lr_mantissa = 0;  // fine-tune: learning rate = mantissa · 2^(exponent − 31), for the mean gradient of a batch
  int16_t lr_exponent = 0;
  uint16_t reserved2 = 0;
  uint32_t condition_value = 0;  // for conditions to come
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    action = in.u8();
    condition = in.u8();
    min_battery_percent = in.u8();
    reserved = in.u8();
    period_s = in.u32();
    first_s = in.u32();
    quiet_from_min = in.u16();
    quiet_to_min = in.u16();
    min_battery_mv = in.u16();
    min_labelled = in.u16();
    max_samples = in.u16();
    rehearse = in.u16();
    epochs = in.u16();
    batch = in.u16();
    lr_mantissa = in.u32();
    lr_exponent = in.i16();
    reserved2 = in.u16();
    condition_value = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u8(action);
    out.u8(condition);
    out.u8(min_battery_percent);
    out.u8(reserved);
    out.u32(period_s);
    out.u32(first_s);
    out.u16(quiet_from_min);
    out.u16(quiet_to_min);
    out.u16(min_battery_mv);
    out.u16(min_labelled);
    out.u16(max_samples);
    out.u16(rehearse);
    out.u16(epochs);
    out.u16(batch);
    out.u32(lr_mantissa);
    out.i16(lr_exponent);
    out.u16(reserved2);
    out.u32(condition_value);
    return out.ok();
  }
};

// One thing that happened on duty.
struct DutyEvent {
  static constexpr size_t kFixedBytes = 18;
  uint8_t kind = 0;  // 1 started, 2 woke, 3 sample, 4 label, 5 skipped, 6 tuning, 7 tuned, 8 committed, 9 dropped, 10 failed, 11 stopped
  uint8_t entry = 0;  // of the schedule
  uint16_t code = 0;  // started: 1 after a restart, 2 after a pause; sample: prediction; label: label; skipped: 1 quiet hours, 2 battery; tuned: percent right in the last epoch; failed: status code; stopped: 1 paused, 2 its time is over
  uint32_t time_s = 0;
  uint32_t id = 0;  // sample and label: of the sample; tuning, tuned, committed, dropped: number of the fine-tuning, from 1
  uint32_t value = 0;  // woke: seconds slept; label: 1 if predicted; tuning and tuned: samples; committed: sequence number of the weights; failed: record of the status
  uint16_t battery_mv = 0;  // 0 unknown
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    kind = in.u8();
    entry = in.u8();
    code = in.u16();
    time_s = in.u32();
    id = in.u32();
    value = in.u32();
    battery_mv = in.u16();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u8(kind);
    out.u8(entry);
    out.u16(code);
    out.u32(time_s);
    out.u32(id);
    out.u32(value);
    out.u16(battery_mv);
    return out.ok();
  }
};

// A sample in the store.
struct StoredSample {
  static constexpr size_t kFixedBytes = 16;
  uint32_t id = 0;
  uint32_t taken_s = 0;
  uint16_t prediction = 0;
  uint16_t label = 0;  // 0xffff: none yet
  uint32_t number = 0;  // of the label, from 1; 0: none yet
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    id = in.u32();
    taken_s = in.u32();
    prediction = in.u16();
    label = in.u16();
    number = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(id);
    out.u32(taken_s);
    out.u16(prediction);
    out.u16(label);
    out.u32(number);
    return out.ok();
  }
};

// The label of a stored sample.
struct SampleLabel {
  static constexpr size_t kFixedBytes = 6;
  uint32_t id = 0;
  uint16_t label = 0;
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    id = in.u32();
    label = in.u16();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(id);
    out.u16(label);
    return out.ok();
  }
};

// One point of a replayed battery's course.
struct BatteryReading {
  static constexpr size_t kFixedBytes = 7;
  uint32_t time_s = 0;
  uint16_t mv = 0;  // 0: unknown, in all points
  uint8_t percent = 0;  // 0 to 100; 255: unknown, in all points
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    time_s = in.u32();
    mv = in.u16();
    percent = in.u8();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(time_s);
    out.u16(mv);
    out.u8(percent);
    return out.ok();
  }
};

// One completed phase.
struct PhaseRecord {
  static constexpr size_t kFixedBytes = 52;
  uint8_t phase = 0;  // 0 idle, 1 load, 2 frozen_forward, 3 train_forward, 4 backward, 5 update, 6 commit, 7 sleep, 8 infer
  uint8_t index = 0;  // sample within the request, 255 none
  uint16_t sequence = 0;  // of the request
  uint32_t start_us = 0;  // board clock, wraps
  uint32_t stop_us = 0;
  uint64_t macs = 0;
  uint64_t weight_macs = 0;  // those of them that made gradients of weights
  uint32_t sums = 0;  // gradients added to accumulators
  uint32_t masks = 0;  // activations whose mask bit was kept
  uint32_t elements = 0;  // outputs of all other ops
  uint32_t updates = 0;  // weights rewritten
  uint32_t flash_bytes = 0;  // written
  uint32_t wire_bytes = 0;  // received and sent
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    phase = in.u8();
    index = in.u8();
    sequence = in.u16();
    start_us = in.u32();
    stop_us = in.u32();
    macs = in.u64();
    weight_macs = in.u64();
    sums = in.u32();
    masks = in.u32();
    elements = in.u32();
    updates = in.u32();
    flash_bytes = in.u32();
    wire_bytes = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u8(phase);
    out.u8(index);
    out.u16(sequence);
    out.u32(start_us);
    out.u32(stop_us);
    out.u64(macs);
    out.u64(weight_macs);
    out.u32(sums);
    out.u32(masks);
    out.u32(elements);
    out.u32(updates);
    out.u32(flash_bytes);
    out.u32(wire_bytes);
    return out.ok();
  }
};

// One trained tensor.
struct TensorRecord {
  static constexpr size_t kFixedBytes = 16;
  uint8_t kind = 0;  // 0 conv2d, 1 depthwise, 2 affine
  uint8_t is_bias = 0;  // 0 weights (int8), 1 bias (int32)
  uint16_t block = 0;  // block of the artifact
  uint32_t rows = 0;  // output channels
  uint32_t row_length = 0;  // elements per row
  uint32_t bytes = 0;  // 0 where an affine's weights are frozen
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    kind = in.u8();
    is_bias = in.u8();
    block = in.u16();
    rows = in.u32();
    row_length = in.u32();
    bytes = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u8(kind);
    out.u8(is_bias);
    out.u16(block);
    out.u32(rows);
    out.u32(row_length);
    out.u32(bytes);
    return out.ok();
  }
};

// One current sensor.
struct SensorRecord {
  static constexpr size_t kFixedBytes = 20;
  uint32_t conversion_us = 0;  // shortest time between two readings
  uint8_t name[16] = {};
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    conversion_us = in.u32();
    in.copy(name, sizeof name);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(conversion_us);
    out.bytes({name, sizeof name});
    return out.ok();
  }
};

// One reading of a current sensor.
struct CurrentRecord {
  static constexpr size_t kFixedBytes = 13;
  uint32_t clock_us = 0;  // board clock, wraps
  int32_t current_ua = 0;  // µA, positive is what the board draws
  int32_t voltage_uv = 0;  // µV
  uint8_t flags = 0;  // bit 0: at the end of the sensor's range, the true current is beyond
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    clock_us = in.u32();
    current_ua = in.i32();
    voltage_uv = in.i32();
    flags = in.u8();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(clock_us);
    out.i32(current_ua);
    out.i32(voltage_uv);
    out.u8(flags);
    return out.ok();
  }
};

// A long request is still being executed; restarts the host's timeout.
struct Progress {
  static constexpr uint8_t kType = 0x70;
  static constexpr size_t kFixedBytes = 8;
  uint32_t done = 0;  // samples finished
  uint32_t total = 0;  // samples asked for
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    done = in.u32();
    total = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(done);
    out.u32(total);
    return out.ok();
  }
};

// A line for people.
struct Log {
  static constexpr uint8_t kType = 0x71;
  static constexpr size_t kFixedBytes = 1;
  uint8_t level = 0;  // 0 debug, 1 info, 2 warning, 3 error
  Span<const uint8_t> text;  // text: without line end
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    level = in.u8();
    text = in.rest(1);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u8(level);
    out.bytes(text);
    return out.ok();
  }
};

// Completed phases, sent before the response of the request they belong to when configured so.
struct Events {
  static constexpr uint8_t kType = 0x72;
  static constexpr size_t kFixedBytes = 4;
  uint32_t first = 0;  // number of the first event; consecutive from there, from 0 at every Configure
  Span<const uint8_t> events;  // PhaseRecord[]
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    first = in.u32();
    events = in.rest(52);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(first);
    out.bytes(events);
    return out.ok();
  }
};

// A frame arrived that does not decode; the host sends its request again at once.
struct Damaged {
  static constexpr uint8_t kType = 0x73;
  static constexpr size_t kFixedBytes = 1;
  uint8_t reason = 0;  // result of the frame decoder
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    reason = in.u8();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u8(reason);
    return out.ok();
  }
};

// Readings of the current sensor that SensorStart started.
struct CurrentSamples {
  static constexpr uint8_t kType = 0x76;
  static constexpr size_t kFixedBytes = 8;
  uint32_t first = 0;  // number of the first among those sent, from 0 at every SensorStart
  uint32_t lost = 0;  // readings since then that found no room; the times of the others show where
  Span<const uint8_t> samples;  // CurrentRecord[]
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    first = in.u32();
    lost = in.u32();
    samples = in.rest(13);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(first);
    out.u32(lost);
    out.bytes(samples);
    return out.ok();
  }
};

// The request was not executed, or failed.
struct Error {
  static constexpr uint8_t kType = 0xff;
  static constexpr size_t kFixedBytes = 6;
  uint16_t code = 0;  // status code, below
  uint32_t record = 0;  // record of the artifact, slot, or expected value, where the code has one
  Span<const uint8_t> text;  // text: the same in words
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    code = in.u16();
    record = in.u32();
    text = in.rest(1);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u16(code);
    out.u32(record);
    out.bytes(text);
    return out.ok();
  }
};

// Who are you? Answered whatever the protocol version in the frame is, and never from the kept response.
struct IdentifyRequest {
  static constexpr uint8_t kType = 0x01;
  static constexpr size_t kFixedBytes = 0;
  static bool decode(Span<const uint8_t> body) { return body.empty(); }
  static bool encode(BodyWriter&) { return true; }
};

// Answers Identify.
struct IdentifyResponse {
  static constexpr uint8_t kType = 0x81;
  static constexpr size_t kFixedBytes = 170;
  uint16_t protocol_version = 0;  // in every version the first field
  uint16_t load_code = 0;  // status code of the loaded artifact: 0 loaded, 1 none there, else why it was refused
  uint32_t load_record = 0;  // record that was refused
  uint8_t board[32] = {};  // board name
  uint8_t firmware[32] = {};  // firmware version
  uint8_t model_hash[32] = {};  // of the loaded artifact, else 0
  uint32_t clock_hz = 0;  // of the CPU, 0 unknown
  uint32_t arena_limit_bytes = 0;  // arena of the board, all regions together
  uint32_t arena_bytes = 0;  // arena that the artifact needs, all regions together
  uint32_t persistent_bytes = 0;  // part of it that is kept between samples
  uint32_t artifact_limit_bytes = 0;  // room for an artifact
  uint32_t artifact_bytes = 0;  // size of the artifact
  uint32_t input_limit_bytes = 0;  // room for an input
  uint32_t input_bytes = 0;  // one input, H·W·C
  uint16_t input_height = 0;
  uint16_t input_width = 0;
  uint16_t input_channels = 0;
  uint16_t classes = 0;
  uint32_t cache_slots = 0;  // sample cache at this sample size
  uint32_t cached_sample_bytes = 0;  // one cached sample
  uint16_t trained_tensors = 0;  // two per trained node
  uint8_t update_mode = 0;  // 0 accumulate, 1 immediate
  uint8_t flags = 0;  // bit 0: Commit is possible; bit 1: trained weights were restored from flash
  uint32_t trained_bytes = 0;  // all trained tensors together
  uint32_t step = 0;  // weight updates since load, reset or write
  uint32_t event_limit = 0;  // events kept for ReadEvents
  uint16_t body_limit = 0;  // longest body
  Span<const uint8_t> region_limit_bytes;  // u32[]: regions of the board's arena, fastest first
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    protocol_version = in.u16();
    load_code = in.u16();
    load_record = in.u32();
    in.copy(board, sizeof board);
    in.copy(firmware, sizeof firmware);
    in.copy(model_hash, sizeof model_hash);
    clock_hz = in.u32();
    arena_limit_bytes = in.u32();
    arena_bytes = in.u32();
    persistent_bytes = in.u32();
    artifact_limit_bytes = in.u32();
    artifact_bytes = in.u32();
    input_limit_bytes = in.u32();
    input_bytes = in.u32();
    input_height = in.u16();
    input_width = in.u16();
    input_channels = in.u16();
    classes = in.u16();
    cache_slots = in.u32();
    cached_sample_bytes = in.u32();
    trained_tensors = in.u16();
    update_mode = in.u8();
    flags = in.u8();
    trained_bytes = in.u32();
    step = in.u32();
    event_limit = in.u32();
    body_limit = in.u16();
    region_limit_bytes = in.rest(4);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u16(protocol_version);
    out.u16(load_code);
    out.u32(load_record);
    out.bytes({board, sizeof board});
    out.bytes({firmware, sizeof firmware});
    out.bytes({model_hash, sizeof model_hash});
    out.u32(clock_hz);
    out.u32(arena_limit_bytes);
    out.u32(arena_bytes);
    out.u32(persistent_bytes);
    out.u32(artifact_limit_bytes);
    out.u32(artifact_bytes);
    out.u32(input_limit_bytes);
    out.u32(input_bytes);
    out.u16(input_height);
    out.u16(input_width);
    out.u16(input_channels);
    out.u16(classes);
    out.u32(cache_slots);
    out.u32(cached_sample_bytes);
    out.u16(trained_tensors);
    out.u8(update_mode);
    out.u8(flags);
    out.u32(trained_bytes);
    out.u32(step);
    out.u32(event_limit);
    out.u16(body_limit);
    out.bytes(region_limit_bytes);
    return out.ok();
  }
};

// Stops the request in progress, which is answered by an error, and forgets the batch and the half-uploaded input.
struct AbortRequest {
  static constexpr uint8_t kType = 0x02;
  static constexpr size_t kFixedBytes = 0;
  static bool decode(Span<const uint8_t> body) { return body.empty(); }
  static bool encode(BodyWriter&) { return true; }
};

// Answers Abort.
struct AbortResponse {
  static constexpr uint8_t kType = 0x82;
  static constexpr size_t kFixedBytes = 0;
  static bool decode(Span<const uint8_t> body) { return body.empty(); }
  static bool encode(BodyWriter&) { return true; }
};

// Starts a session: seed of the stochastic rounding, events on or off, weights as in the artifact. Drops a batch in progress.
struct ConfigureRequest {
  static constexpr uint8_t kType = 0x03;
  static constexpr size_t kFixedBytes = 5;
  uint32_t seed = 0;
  uint8_t flags = 0;  // bit 0: send events; bit 1: reset the weights
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    seed = in.u32();
    flags = in.u8();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(seed);
    out.u8(flags);
    return out.ok();
  }
};

// Answers Configure.
struct ConfigureResponse {
  static constexpr uint8_t kType = 0x83;
  static constexpr size_t kFixedBytes = 4;
  uint32_t step = 0;  // weight updates so far
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    step = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(step);
    return out.ok();
  }
};

// What the program takes of the board.
struct BoardStatusRequest {
  static constexpr uint8_t kType = 0x04;
  static constexpr size_t kFixedBytes = 0;
  static bool decode(Span<const uint8_t> body) { return body.empty(); }
  static bool encode(BodyWriter&) { return true; }
};

// Answers BoardStatus.
struct BoardStatusResponse {
  static constexpr uint8_t kType = 0x84;
  static constexpr size_t kFixedBytes = 20;
  uint32_t flash_bytes = 0;  // the program, constants and an artifact linked in among it; 0 unknown, as all of these
  uint32_t static_ram_bytes = 0;  // variables in the fast memory, arena among them, without the stack
  uint32_t static_psram_bytes = 0;  // variables in the slow memory
  uint32_t stack_bytes = 0;  // room for the stack
  uint32_t stack_used_bytes = 0;  // the deepest it was since the start
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    flash_bytes = in.u32();
    static_ram_bytes = in.u32();
    static_psram_bytes = in.u32();
    stack_bytes = in.u32();
    stack_used_bytes = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(flash_bytes);
    out.u32(static_ram_bytes);
    out.u32(static_psram_bytes);
    out.u32(stack_bytes);
    out.u32(stack_used_bytes);
    return out.ok();
  }
};

// An artifact is coming. Unloads the one that is there, unless it is the same.
struct ArtifactBeginRequest {
  static constexpr uint8_t kType = 0x10;
  static constexpr size_t kFixedBytes = 36;
  uint32_t total = 0;  // bytes
  uint8_t sha256[32] = {};  // of the whole file
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    total = in.u32();
    in.copy(sha256, sizeof sha256);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(total);
    out.bytes({sha256, sizeof sha256});
    return out.ok();
  }
};

// Answers ArtifactBegin.
struct ArtifactBeginResponse {
  static constexpr uint8_t kType = 0x90;
  static constexpr size_t kFixedBytes = 4;
  uint32_t received = 0;  // bytes of the same file that are there already: go on from here
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    received = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(received);
    return out.ok();
  }
};

// The next bytes of the artifact.
struct ArtifactChunkRequest {
  static constexpr uint8_t kType = 0x11;
  static constexpr size_t kFixedBytes = 4;
  uint32_t offset = 0;  // must be the number of bytes received
  Span<const uint8_t> data;  // bytes
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    offset = in.u32();
    data = in.rest(1);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(offset);
    out.bytes(data);
    return out.ok();
  }
};

// Answers ArtifactChunk.
struct ArtifactChunkResponse {
  static constexpr uint8_t kType = 0x91;
  static constexpr size_t kFixedBytes = 4;
  uint32_t received = 0;  // bytes there now
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    received = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(received);
    return out.ok();
  }
};

// Checks the SHA-256, validates and loads the artifact; restores committed weights that fit it.
struct ArtifactEndRequest {
  static constexpr uint8_t kType = 0x12;
  static constexpr size_t kFixedBytes = 0;
  static bool decode(Span<const uint8_t> body) { return body.empty(); }
  static bool encode(BodyWriter&) { return true; }
};

// Answers ArtifactEnd.
struct ArtifactEndResponse {
  static constexpr uint8_t kType = 0x92;
  static constexpr size_t kFixedBytes = 32;
  uint8_t model_hash[32] = {};
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    in.copy(model_hash, sizeof model_hash);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.bytes({model_hash, sizeof model_hash});
    return out.ok();
  }
};

// Runs the artifact's test vectors; an error names the first whose logits differ.
struct SelfTestRequest {
  static constexpr uint8_t kType = 0x13;
  static constexpr size_t kFixedBytes = 0;
  static bool decode(Span<const uint8_t> body) { return body.empty(); }
  static bool encode(BodyWriter&) { return true; }
};

// Answers SelfTest.
struct SelfTestResponse {
  static constexpr uint8_t kType = 0x93;
  static constexpr size_t kFixedBytes = 4;
  uint32_t vectors = 0;  // vectors that were run
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    vectors = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(vectors);
    return out.ok();
  }
};

// The next bytes of an input, uint8 as in the image; the device subtracts 128. Offset 0 starts a new input.
struct InputChunkRequest {
  static constexpr uint8_t kType = 0x20;
  static constexpr size_t kFixedBytes = 4;
  uint32_t offset = 0;  // 0, or the number of bytes received
  Span<const uint8_t> pixels;  // bytes
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    offset = in.u32();
    pixels = in.rest(1);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(offset);
    out.bytes(pixels);
    return out.ok();
  }
};

// Answers InputChunk.
struct InputChunkResponse {
  static constexpr uint8_t kType = 0xa0;
  static constexpr size_t kFixedBytes = 4;
  uint32_t received = 0;  // bytes there now
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    received = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(received);
    return out.ok();
  }
};

// Runs the frozen layers on the uploaded input and keeps the result in a slot.
struct CacheInputRequest {
  static constexpr uint8_t kType = 0x21;
  static constexpr size_t kFixedBytes = 7;
  uint32_t slot = 0;
  uint16_t label = 0;
  uint8_t flags = 0;  // bit 0: for evaluation only; its events say infer, not frozen_forward
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    slot = in.u32();
    label = in.u16();
    flags = in.u8();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(slot);
    out.u16(label);
    out.u8(flags);
    return out.ok();
  }
};

// Answers CacheInput.
struct CacheInputResponse {
  static constexpr uint8_t kType = 0xa1;
  static constexpr size_t kFixedBytes = 0;
  static bool decode(Span<const uint8_t> body) { return body.empty(); }
  static bool encode(BodyWriter&) { return true; }
};

// Trains on cached samples in this order. An abort or an error drops the batch in progress.
struct TrainRequest {
  static constexpr uint8_t kType = 0x22;
  static constexpr size_t kFixedBytes = 9;
  uint32_t lr_mantissa = 0;  // learning rate / batch size = mantissa · 2^(exponent − 31); mantissa in [2^30, 2^31), or both 0
  int16_t lr_exponent = 0;
  uint16_t update_every = 0;  // samples per weight update, 0: none within this request
  uint8_t flags = 0;  // bit 0: update at the end of the list, too, if samples are left over
  Span<const uint8_t> slots;  // u32[]: at most 64
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    lr_mantissa = in.u32();
    lr_exponent = in.i16();
    update_every = in.u16();
    flags = in.u8();
    slots = in.rest(4);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(lr_mantissa);
    out.i16(lr_exponent);
    out.u16(update_every);
    out.u8(flags);
    out.bytes(slots);
    return out.ok();
  }
};

// Answers Train.
struct TrainResponse {
  static constexpr uint8_t kType = 0xa2;
  static constexpr size_t kFixedBytes = 24;
  uint64_t loss_q16 = 0;  // sum of the losses, nats · 65536
  uint32_t samples = 0;
  uint32_t correct = 0;  // predicted right before their update
  uint32_t skipped = 0;  // their error was zero everywhere
  uint32_t step = 0;  // weight updates so far
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    loss_q16 = in.u64();
    samples = in.u32();
    correct = in.u32();
    skipped = in.u32();
    step = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u64(loss_q16);
    out.u32(samples);
    out.u32(correct);
    out.u32(skipped);
    out.u32(step);
    return out.ok();
  }
};

// Trains on the uploaded input, frozen layers included: the cache is not used. Answered like Train.
struct TrainInputRequest {
  static constexpr uint8_t kType = 0x23;
  static constexpr size_t kFixedBytes = 9;
  uint32_t lr_mantissa = 0;  // as in Train
  int16_t lr_exponent = 0;
  uint16_t label = 0;
  uint8_t flags = 0;  // bit 0: update the weights after this sample
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    lr_mantissa = in.u32();
    lr_exponent = in.i16();
    label = in.u16();
    flags = in.u8();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(lr_mantissa);
    out.i16(lr_exponent);
    out.u16(label);
    out.u8(flags);
    return out.ok();
  }
};

// Answers TrainInput.
struct TrainInputResponse {
  static constexpr uint8_t kType = 0xa3;
  static constexpr size_t kFixedBytes = 24;
  uint64_t loss_q16 = 0;  // nats · 65536
  uint32_t samples = 0;  // 1
  uint32_t correct = 0;
  uint32_t skipped = 0;
  uint32_t step = 0;
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    loss_q16 = in.u64();
    samples = in.u32();
    correct = in.u32();
    skipped = in.u32();
    step = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u64(loss_q16);
    out.u32(samples);
    out.u32(correct);
    out.u32(skipped);
    out.u32(step);
    return out.ok();
  }
};

// Runs the network on the uploaded input.
struct InferInputRequest {
  static constexpr uint8_t kType = 0x24;
  static constexpr size_t kFixedBytes = 0;
  static bool decode(Span<const uint8_t> body) { return body.empty(); }
  static bool encode(BodyWriter&) { return true; }
};

// Answers InferInput.
struct InferInputResponse {
  static constexpr uint8_t kType = 0xa4;
  static constexpr size_t kFixedBytes = 0;
  Span<const uint8_t> logits;  // bytes: int8, one per class
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    logits = in.rest(1);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.bytes(logits);
    return out.ok();
  }
};

// Runs the rest of the network on a cached sample.
struct InferSlotRequest {
  static constexpr uint8_t kType = 0x25;
  static constexpr size_t kFixedBytes = 4;
  uint32_t slot = 0;
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    slot = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(slot);
    return out.ok();
  }
};

// Answers InferSlot.
struct InferSlotResponse {
  static constexpr uint8_t kType = 0xa5;
  static constexpr size_t kFixedBytes = 0;
  Span<const uint8_t> logits;  // bytes: int8, one per class
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    logits = in.rest(1);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.bytes(logits);
    return out.ok();
  }
};

// Predictions for cached samples: the first largest logit each.
struct EvaluateRequest {
  static constexpr uint8_t kType = 0x26;
  static constexpr size_t kFixedBytes = 0;
  Span<const uint8_t> slots;  // u32[]: at most 64
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    slots = in.rest(4);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.bytes(slots);
    return out.ok();
  }
};

// Answers Evaluate.
struct EvaluateResponse {
  static constexpr uint8_t kType = 0xa6;
  static constexpr size_t kFixedBytes = 0;
  Span<const uint8_t> predictions;  // u16[]
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    predictions = in.rest(2);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.bytes(predictions);
    return out.ok();
  }
};

// The trained tensors from this number on, as many as fit.
struct TensorTableRequest {
  static constexpr uint8_t kType = 0x30;
  static constexpr size_t kFixedBytes = 2;
  uint16_t first = 0;
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    first = in.u16();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u16(first);
    return out.ok();
  }
};

// Answers TensorTable.
struct TensorTableResponse {
  static constexpr uint8_t kType = 0xb0;
  static constexpr size_t kFixedBytes = 0;
  Span<const uint8_t> tensors;  // TensorRecord[]
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    tensors = in.rest(16);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.bytes(tensors);
    return out.ok();
  }
};

// Bytes of a trained tensor, as in the weight hash: int8, or int32 little-endian.
struct ReadWeightsRequest {
  static constexpr uint8_t kType = 0x31;
  static constexpr size_t kFixedBytes = 8;
  uint16_t tensor = 0;
  uint32_t offset = 0;
  uint16_t length = 0;  // at most the body limit
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    tensor = in.u16();
    offset = in.u32();
    length = in.u16();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u16(tensor);
    out.u32(offset);
    out.u16(length);
    return out.ok();
  }
};

// Answers ReadWeights.
struct ReadWeightsResponse {
  static constexpr uint8_t kType = 0xb1;
  static constexpr size_t kFixedBytes = 0;
  Span<const uint8_t> data;  // bytes
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    data = in.rest(1);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.bytes(data);
    return out.ok();
  }
};

// Overwrites part of a trained tensor; the step counter returns to 0.
struct WriteWeightsRequest {
  static constexpr uint8_t kType = 0x32;
  static constexpr size_t kFixedBytes = 6;
  uint16_t tensor = 0;
  uint32_t offset = 0;  // a multiple of the element size
  Span<const uint8_t> data;  // bytes: whole elements
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    tensor = in.u16();
    offset = in.u32();
    data = in.rest(1);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u16(tensor);
    out.u32(offset);
    out.bytes(data);
    return out.ok();
  }
};

// Answers WriteWeights.
struct WriteWeightsResponse {
  static constexpr uint8_t kType = 0xb2;
  static constexpr size_t kFixedBytes = 0;
  static bool decode(Span<const uint8_t> body) { return body.empty(); }
  static bool encode(BodyWriter&) { return true; }
};

// SHA-256 over all trained tensors.
struct WeightsHashRequest {
  static constexpr uint8_t kType = 0x33;
  static constexpr size_t kFixedBytes = 0;
  static bool decode(Span<const uint8_t> body) { return body.empty(); }
  static bool encode(BodyWriter&) { return true; }
};

// Answers WeightsHash.
struct WeightsHashResponse {
  static constexpr uint8_t kType = 0xb3;
  static constexpr size_t kFixedBytes = 32;
  uint8_t sha256[32] = {};
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    in.copy(sha256, sizeof sha256);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.bytes({sha256, sizeof sha256});
    return out.ok();
  }
};

// Writes the trained weights to flash; they are there after the next start.
struct CommitRequest {
  static constexpr uint8_t kType = 0x34;
  static constexpr size_t kFixedBytes = 0;
  static bool decode(Span<const uint8_t> body) { return body.empty(); }
  static bool encode(BodyWriter&) { return true; }
};

// Answers Commit.
struct CommitResponse {
  static constexpr uint8_t kType = 0xb4;
  static constexpr size_t kFixedBytes = 4;
  uint32_t flash_bytes = 0;  // bytes written
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    flash_bytes = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(flash_bytes);
    return out.ok();
  }
};

// Events that were lost on the way, as many as fit.
struct ReadEventsRequest {
  static constexpr uint8_t kType = 0x40;
  static constexpr size_t kFixedBytes = 4;
  uint32_t first = 0;  // number of the first
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    first = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(first);
    return out.ok();
  }
};

// Answers ReadEvents.
struct ReadEventsResponse {
  static constexpr uint8_t kType = 0xc0;
  static constexpr size_t kFixedBytes = 4;
  uint32_t first = 0;  // number of the first event here: higher than asked for when older ones are gone
  Span<const uint8_t> events;  // PhaseRecord[]
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    first = in.u32();
    events = in.rest(52);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(first);
    out.bytes(events);
    return out.ok();
  }
};

// The current sensors that the board has, in the order of their numbers.
struct SensorListRequest {
  static constexpr uint8_t kType = 0x48;
  static constexpr size_t kFixedBytes = 0;
  static bool decode(Span<const uint8_t> body) { return body.empty(); }
  static bool encode(BodyWriter&) { return true; }
};

// Answers SensorList.
struct SensorListResponse {
  static constexpr uint8_t kType = 0xc8;
  static constexpr size_t kFixedBytes = 0;
  Span<const uint8_t> sensors;  // SensorRecord[]
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    sensors = in.rest(20);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.bytes(sensors);
    return out.ok();
  }
};

// Starts sampling a current sensor; readings come as CurrentSamples until SensorStop or Abort, or a Log says why not.
struct SensorStartRequest {
  static constexpr uint8_t kType = 0x49;
  static constexpr size_t kFixedBytes = 5;
  uint8_t sensor = 0;  // number in SensorList
  uint32_t period_us = 0;  // between two readings; raised to what the sensor can do
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    sensor = in.u8();
    period_us = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u8(sensor);
    out.u32(period_us);
    return out.ok();
  }
};

// Answers SensorStart.
struct SensorStartResponse {
  static constexpr uint8_t kType = 0xc9;
  static constexpr size_t kFixedBytes = 4;
  uint32_t period_us = 0;  // what it will be
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    period_us = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(period_us);
    return out.ok();
  }
};

// Ends sampling, after the readings that are left.
struct SensorStopRequest {
  static constexpr uint8_t kType = 0x4a;
  static constexpr size_t kFixedBytes = 0;
  static bool decode(Span<const uint8_t> body) { return body.empty(); }
  static bool encode(BodyWriter&) { return true; }
};

// Answers SensorStop.
struct SensorStopResponse {
  static constexpr uint8_t kType = 0xca;
  static constexpr size_t kFixedBytes = 8;
  uint32_t taken = 0;  // readings since SensorStart
  uint32_t lost = 0;  // of them, those that found no room
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    taken = in.u32();
    lost = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(taken);
    out.u32(lost);
    return out.ok();
  }
};

// What happened on duty, sent as it happens when DutyStart asked for it.
struct DutyEvents {
  static constexpr uint8_t kType = 0x75;
  static constexpr size_t kFixedBytes = 4;
  uint32_t first = 0;  // number of the first event; consecutive from there, from 0 at the board's start
  Span<const uint8_t> events;  // DutyEvent[]
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    first = in.u32();
    events = in.rest(18);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(first);
    out.bytes(events);
    return out.ok();
  }
};

// Checks the schedule and keeps it in flash; duty does not start by that.
struct DutyWriteScheduleRequest {
  static constexpr uint8_t kType = 0x60;
  static constexpr size_t kFixedBytes = 2;
  uint16_t listen_ms = 0;  // how long the board stays awake for its port after each wake
  Span<const uint8_t> entries;  // ScheduleEntry[]: 1 to 8
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    listen_ms = in.u16();
    entries = in.rest(40);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u16(listen_ms);
    out.bytes(entries);
    return out.ok();
  }
};

// Answers DutyWriteSchedule.
struct DutyWriteScheduleResponse {
  static constexpr uint8_t kType = 0xe0;
  static constexpr size_t kFixedBytes = 4;
  uint32_t sequence = 0;  // of the schedule in flash
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    sequence = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(sequence);
    return out.ok();
  }
};

// The schedule that flash holds.
struct DutyReadScheduleRequest {
  static constexpr uint8_t kType = 0x61;
  static constexpr size_t kFixedBytes = 0;
  static bool decode(Span<const uint8_t> body) { return body.empty(); }
  static bool encode(BodyWriter&) { return true; }
};

// Answers DutyReadSchedule.
struct DutyReadScheduleResponse {
  static constexpr uint8_t kType = 0xe1;
  static constexpr size_t kFixedBytes = 19;
  uint32_t sequence = 0;  // of the schedule in flash
  uint8_t running = 0;  // 1: goes on after a restart
  uint32_t start_s = 0;  // time of the start; the entries' times count from there
  uint32_t until_s = 0;  // 0: never stops by itself
  uint32_t seed = 0;
  uint16_t listen_ms = 0;
  Span<const uint8_t> entries;  // ScheduleEntry[]
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    sequence = in.u32();
    running = in.u8();
    start_s = in.u32();
    until_s = in.u32();
    seed = in.u32();
    listen_ms = in.u16();
    entries = in.rest(40);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(sequence);
    out.u8(running);
    out.u32(start_s);
    out.u32(until_s);
    out.u32(seed);
    out.u16(listen_ms);
    out.bytes(entries);
    return out.ok();
  }
};

// Works by the schedule from now on, after a restart too. Training begins at the last committed weights.
struct DutyStartRequest {
  static constexpr uint8_t kType = 0x62;
  static constexpr size_t kFixedBytes = 13;
  uint8_t flags = 0;  // bit 0: send DutyEvents; bit 1: forget all stored samples; bit 2: go on after a pause, and ignore the other fields
  uint32_t time_s = 0;  // now, in seconds from midnight of day 0
  uint32_t until_s = 0;  // stops at this time; 0: never
  uint32_t seed = 0;  // of the stochastic rounding and the order of the samples
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    flags = in.u8();
    time_s = in.u32();
    until_s = in.u32();
    seed = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u8(flags);
    out.u32(time_s);
    out.u32(until_s);
    out.u32(seed);
    return out.ok();
  }
};

// Answers DutyStart.
struct DutyStartResponse {
  static constexpr uint8_t kType = 0xe2;
  static constexpr size_t kFixedBytes = 4;
  uint32_t time_s = 0;
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    time_s = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(time_s);
    return out.ok();
  }
};

// Ends duty, after a restart too. (Abort only pauses it.) An unfinished fine-tuning goes back to the last commit.
struct DutyStopRequest {
  static constexpr uint8_t kType = 0x63;
  static constexpr size_t kFixedBytes = 0;
  static bool decode(Span<const uint8_t> body) { return body.empty(); }
  static bool encode(BodyWriter&) { return true; }
};

// Answers DutyStop.
struct DutyStopResponse {
  static constexpr uint8_t kType = 0xe3;
  static constexpr size_t kFixedBytes = 0;
  static bool decode(Span<const uint8_t> body) { return body.empty(); }
  static bool encode(BodyWriter&) { return true; }
};

// What happened so far. Counts are of the sample store's whole life, but for those since the board's start.
struct DutyStatusRequest {
  static constexpr uint8_t kType = 0x64;
  static constexpr size_t kFixedBytes = 0;
  static bool decode(Span<const uint8_t> body) { return body.empty(); }
  static bool encode(BodyWriter&) { return true; }
};

// Answers DutyStatus.
struct DutyStatusResponse {
  static constexpr uint8_t kType = 0xe4;
  static constexpr size_t kFixedBytes = 87;
  uint8_t mode = 0;  // 0 stopped, 1 running, 2 paused
  uint8_t tuning = 0;  // 1: a fine-tuning is under way
  uint32_t time_s = 0;  // now
  uint32_t next_s = 0;  // when the next entry is due
  uint32_t wakes = 0;
  uint32_t samples = 0;  // taken
  uint32_t labels = 0;  // that came
  uint32_t right = 0;  // labelled samples that had been classified so
  uint32_t tunings = 0;  // committed
  uint32_t stored = 0;  // samples in the store
  uint32_t capacity = 0;  // samples that it keeps at least
  uint32_t unlabelled = 0;  // of the stored
  uint32_t new_labelled = 0;  // of the stored: labelled, and in no committed fine-tuning
  uint32_t damaged = 0;  // places of the store that could not be read or were cut off, when it was opened
  uint32_t skipped = 0;  // times that quiet hours or battery forbade an entry, since the board's start
  uint32_t failures = 0;  // since the board's start
  uint16_t last_failure = 0;  // status code
  uint32_t last_failure_record = 0;
  uint32_t checkpoint = 0;  // sequence number of the weights in flash
  uint16_t battery_mv = 0;  // 0 unknown
  uint8_t battery_percent = 0;  // 255 unknown
  uint32_t events = 0;  // number of the next event
  uint32_t tune_limit = 0;  // samples in one fine-tuning
  uint32_t replay_limit = 0;  // samples that can be replayed at the network's input size; 0: the board takes its own
  uint32_t battery_limit = 0;  // points of a replayed battery
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    mode = in.u8();
    tuning = in.u8();
    time_s = in.u32();
    next_s = in.u32();
    wakes = in.u32();
    samples = in.u32();
    labels = in.u32();
    right = in.u32();
    tunings = in.u32();
    stored = in.u32();
    capacity = in.u32();
    unlabelled = in.u32();
    new_labelled = in.u32();
    damaged = in.u32();
    skipped = in.u32();
    failures = in.u32();
    last_failure = in.u16();
    last_failure_record = in.u32();
    checkpoint = in.u32();
    battery_mv = in.u16();
    battery_percent = in.u8();
    events = in.u32();
    tune_limit = in.u32();
    replay_limit = in.u32();
    battery_limit = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u8(mode);
    out.u8(tuning);
    out.u32(time_s);
    out.u32(next_s);
    out.u32(wakes);
    out.u32(samples);
    out.u32(labels);
    out.u32(right);
    out.u32(tunings);
    out.u32(stored);
    out.u32(capacity);
    out.u32(unlabelled);
    out.u32(new_labelled);
    out.u32(damaged);
    out.u32(skipped);
    out.u32(failures);
    out.u16(last_failure);
    out.u32(last_failure_record);
    out.u32(checkpoint);
    out.u16(battery_mv);
    out.u8(battery_percent);
    out.u32(events);
    out.u32(tune_limit);
    out.u32(replay_limit);
    out.u32(battery_limit);
    return out.ok();
  }
};

// Labels of stored samples. Stops at the first that cannot be stored; a label that a sample has already is no error.
struct DutyLabelsRequest {
  static constexpr uint8_t kType = 0x65;
  static constexpr size_t kFixedBytes = 0;
  Span<const uint8_t> labels;  // SampleLabel[]
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    labels = in.rest(6);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.bytes(labels);
    return out.ok();
  }
};

// Answers DutyLabels.
struct DutyLabelsResponse {
  static constexpr uint8_t kType = 0xe5;
  static constexpr size_t kFixedBytes = 4;
  uint32_t labels = 0;  // that came so far
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    labels = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(labels);
    return out.ok();
  }
};

// Events from this number on, as many as fit.
struct DutyReadEventsRequest {
  static constexpr uint8_t kType = 0x66;
  static constexpr size_t kFixedBytes = 4;
  uint32_t first = 0;  // number of the first
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    first = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(first);
    return out.ok();
  }
};

// Answers DutyReadEvents.
struct DutyReadEventsResponse {
  static constexpr uint8_t kType = 0xe6;
  static constexpr size_t kFixedBytes = 4;
  uint32_t first = 0;  // number of the first event here: higher than asked for when older ones are gone
  Span<const uint8_t> events;  // DutyEvent[]
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    first = in.u32();
    events = in.rest(18);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(first);
    out.bytes(events);
    return out.ok();
  }
};

// Stored samples from this id on, as many as fit.
struct DutySamplesRequest {
  static constexpr uint8_t kType = 0x67;
  static constexpr size_t kFixedBytes = 4;
  uint32_t first = 0;  // id
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    first = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(first);
    return out.ok();
  }
};

// Answers DutySamples.
struct DutySamplesResponse {
  static constexpr uint8_t kType = 0xe7;
  static constexpr size_t kFixedBytes = 0;
  Span<const uint8_t> samples;  // StoredSample[]
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    samples = in.rest(16);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.bytes(samples);
    return out.ok();
  }
};

// Bytes of a stored sample, uint8 as in the image.
struct DutyReadSampleRequest {
  static constexpr uint8_t kType = 0x68;
  static constexpr size_t kFixedBytes = 10;
  uint32_t id = 0;
  uint32_t offset = 0;
  uint16_t length = 0;  // at most the body limit
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    id = in.u32();
    offset = in.u32();
    length = in.u16();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(id);
    out.u32(offset);
    out.u16(length);
    return out.ok();
  }
};

// Answers DutyReadSample.
struct DutyReadSampleResponse {
  static constexpr uint8_t kType = 0xe8;
  static constexpr size_t kFixedBytes = 0;
  Span<const uint8_t> pixels;  // bytes
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    pixels = in.rest(1);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.bytes(pixels);
    return out.ok();
  }
};

// The uploaded input becomes a sample that a board without a sensor takes: sample `id` is number id modulo their number.
struct ReplaySampleRequest {
  static constexpr uint8_t kType = 0x69;
  static constexpr size_t kFixedBytes = 10;
  uint32_t index = 0;  // at most the number so far; 0 forgets all earlier ones
  uint16_t label = 0;  // 0xffff: none ever
  uint32_t delay_s = 0;  // from the sample to its label
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    index = in.u32();
    label = in.u16();
    delay_s = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(index);
    out.u16(label);
    out.u32(delay_s);
    return out.ok();
  }
};

// Answers ReplaySample.
struct ReplaySampleResponse {
  static constexpr uint8_t kType = 0xe9;
  static constexpr size_t kFixedBytes = 4;
  uint32_t samples = 0;  // number so far
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    samples = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(samples);
    return out.ok();
  }
};

// The course of the battery of a board without one; straight lines between the points.
struct ReplayBatteryRequest {
  static constexpr uint8_t kType = 0x6a;
  static constexpr size_t kFixedBytes = 4;
  uint32_t index = 0;  // of the first point here: the number so far, or 0, which forgets all earlier ones
  Span<const uint8_t> points;  // BatteryReading[]: in ascending time
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    index = in.u32();
    points = in.rest(7);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(index);
    out.bytes(points);
    return out.ok();
  }
};

// Answers ReplayBattery.
struct ReplayBatteryResponse {
  static constexpr uint8_t kType = 0xea;
  static constexpr size_t kFixedBytes = 4;
  uint32_t points = 0;  // number so far
  // False when the length of the body is wrong.
  bool decode(Span<const uint8_t> body) {
    BodyReader in(body);
    points = in.u32();
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(points);
    return out.ok();
  }
};

// Calls visitor(MessageStruct()) for the message of this type; false when there is none.
template <typename Visitor>
bool visit_message(uint8_t type, Visitor&& visitor) {
  switch (type) {
    case Progress::kType:
      visitor(Progress());
      return true;
    case Log::kType:
      visitor(Log());
      return true;
    case Events::kType:
      visitor(Events());
      return true;
    case Damaged::kType:
      visitor(Damaged());
      return true;
    case CurrentSamples::kType:
      visitor(CurrentSamples());
      return true;
    case Error::kType:
      visitor(Error());
      return true;
    case IdentifyRequest::kType:
      visitor(IdentifyRequest());
      return true;
    case IdentifyResponse::kType:
      visitor(IdentifyResponse());
      return true;
    case AbortRequest::kType:
      visitor(AbortRequest());
      return true;
    case AbortResponse::kType:
      visitor(AbortResponse());
      return true;
    case ConfigureRequest::kType:
      visitor(ConfigureRequest());
      return true;
    case ConfigureResponse::kType:
      visitor(ConfigureResponse());
      return true;
    case BoardStatusRequest::kType:
      visitor(BoardStatusRequest());
      return true;
    case BoardStatusResponse::kType:
      visitor(BoardStatusResponse());
      return true;
    case ArtifactBeginRequest::kType:
      visitor(ArtifactBeginRequest());
      return true;
    case ArtifactBeginResponse::kType:
      visitor(ArtifactBeginResponse());
      return true;
    case ArtifactChunkRequest::kType:
      visitor(ArtifactChunkRequest());
      return true;
    case ArtifactChunkResponse::kType:
      visitor(ArtifactChunkResponse());
      return true;
    case ArtifactEndRequest::kType:
      visitor(ArtifactEndRequest());
      return true;
    case ArtifactEndResponse::kType:
      visitor(ArtifactEndResponse());
      return true;
    case SelfTestRequest::kType:
      visitor(SelfTestRequest());
      return true;
    case SelfTestResponse::kType:
      visitor(SelfTestResponse());
      return true;
    case InputChunkRequest::kType:
      visitor(InputChunkRequest());
      return true;
    case InputChunkResponse::kType:
      visitor(InputChunkResponse());
      return true;
    case CacheInputRequest::kType:
      visitor(CacheInputRequest());
      return true;
    case CacheInputResponse::kType:
      visitor(CacheInputResponse());
      return true;
    case TrainRequest::kType:
      visitor(TrainRequest());
      return true;
    case TrainResponse::kType:
      visitor(TrainResponse());
      return true;
    case TrainInputRequest::kType:
      visitor(TrainInputRequest());
      return true;
    case TrainInputResponse::kType:
      visitor(TrainInputResponse());
      return true;
    case InferInputRequest::kType:
      visitor(InferInputRequest());
      return true;
    case InferInputResponse::kType:
      visitor(InferInputResponse());
      return true;
    case InferSlotRequest::kType:
      visitor(InferSlotRequest());
      return true;
    case InferSlotResponse::kType:
      visitor(InferSlotResponse());
      return true;
    case EvaluateRequest::kType:
      visitor(EvaluateRequest());
      return true;
    case EvaluateResponse::kType:
      visitor(EvaluateResponse());
      return true;
    case TensorTableRequest::kType:
      visitor(TensorTableRequest());
      return true;
    case TensorTableResponse::kType:
      visitor(TensorTableResponse());
      return true;
    case ReadWeightsRequest::kType:
      visitor(ReadWeightsRequest());
      return true;
    case ReadWeightsResponse::kType:
      visitor(ReadWeightsResponse());
      return true;
    case WriteWeightsRequest::kType:
      visitor(WriteWeightsRequest());
      return true;
    case WriteWeightsResponse::kType:
      visitor(WriteWeightsResponse());
      return true;
    case WeightsHashRequest::kType:
      visitor(WeightsHashRequest());
      return true;
    case WeightsHashResponse::kType:
      visitor(WeightsHashResponse());
      return true;
    case CommitRequest::kType:
      visitor(CommitRequest());
      return true;
    case CommitResponse::kType:
      visitor(CommitResponse());
      return true;
    case ReadEventsRequest::kType:
      visitor(ReadEventsRequest());
      return true;
    case ReadEventsResponse::kType:
      visitor(ReadEventsResponse());
      return true;
    case SensorListRequest::kType:
      visitor(SensorListRequest());
      return true;
    case SensorListResponse::kType:
      visitor(SensorListResponse());
      return true;
    case SensorStartRequest::kType:
      visitor(SensorStartRequest());
      return true;
    case SensorStartResponse::kType:
      visitor(SensorStartResponse());
      return true;
    case SensorStopRequest::kType:
      visitor(SensorStopRequest());
      return true;
    case SensorStopResponse::kType:
      visitor(SensorStopResponse());
      return true;
    case DutyEvents::kType:
      visitor(DutyEvents());
      return true;
    case DutyWriteScheduleRequest::kType:
      visitor(DutyWriteScheduleRequest());
      return true;
    case DutyWriteScheduleResponse::kType:
      visitor(DutyWriteScheduleResponse());
      return true;
    case DutyReadScheduleRequest::kType:
      visitor(DutyReadScheduleRequest());
      return true;
    case DutyReadScheduleResponse::kType:
      visitor(DutyReadScheduleResponse());
      return true;
    case DutyStartRequest::kType:
      visitor(DutyStartRequest());
      return true;
    case DutyStartResponse::kType:
      visitor(DutyStartResponse());
      return true;
    case DutyStopRequest::kType:
      visitor(DutyStopRequest());
      return true;
    case DutyStopResponse::kType:
      visitor(DutyStopResponse());
      return true;
    case DutyStatusRequest::kType:
      visitor(DutyStatusRequest());
      return true;
    case DutyStatusResponse::kType:
      visitor(DutyStatusResponse());
      return true;
    case DutyLabelsRequest::kType:
      visitor(DutyLabelsRequest());
      return true;
    case DutyLabelsResponse::kType:
      visitor(DutyLabelsResponse());
      return true;
    case DutyReadEventsRequest::kType:
      visitor(DutyReadEventsRequest());
      return true;
    case DutyReadEventsResponse::kType:
      visitor(DutyReadEventsResponse());
      return true;
    case DutySamplesRequest::kType:
      visitor(DutySamplesRequest());
      return true;
    case DutySamplesResponse::kType:
      visitor(DutySamplesResponse());
      return true;
    case DutyReadSampleRequest::kType:
      visitor(DutyReadSampleRequest());
      return true;
    case DutyReadSampleResponse::kType:
      visitor(DutyReadSampleResponse());
      return true;
    case ReplaySampleRequest::kType:
      visitor(ReplaySampleRequest());
      return true;
    case ReplaySampleResponse::kType:
      visitor(ReplaySampleResponse());
      return true;
    case ReplayBatteryRequest::kType:
      visitor(ReplayBatteryRequest());
      return true;
    case ReplayBatteryResponse::kType:
      visitor(ReplayBatteryResponse());
      return true;
    default:
      return false;
  }
}

}  // namespace wire
}  // namespace tbft
