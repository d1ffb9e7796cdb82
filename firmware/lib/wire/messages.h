// clang-format off
// The messages of the wire protocol. Generated from host/protocol/messages.toml by `python -m host.protocol.generate`; do not edit.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/span.h"
#include "wire/body.h"

namespace tbft {
namespace wire {

constexpr uint8_t kProtocolVersion = 1;
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
  }
  return "unknown status";
}

// One completed phase.
struct PhaseRecord {
  static constexpr size_t kFixedBytes = 36;
  uint8_t phase = 0;  // 0 idle, 1 load, 2 frozen_forward, 3 train_forward, 4 backward, 5 update, 6 commit, 7 sleep, 8 infer
  uint8_t index = 0;  // sample within the request, 255 none
  uint16_t sequence = 0;  // of the request
  uint32_t start_us = 0;  // board clock, wraps
  uint32_t stop_us = 0;
  uint64_t macs = 0;
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
    events = in.rest(36);
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
  uint32_t arena_limit_bytes = 0;  // arena of the board
  uint32_t arena_bytes = 0;  // arena that the artifact needs
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
    events = in.rest(36);
    return in.finished();
  }
  // False when it does not fit.
  bool encode(BodyWriter& out) const {
    out.u32(first);
    out.bytes(events);
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
    default:
      return false;
  }
}

}  // namespace wire
}  // namespace tbft
