// Frames (docs/protocol.md): version u8, type u8, sequence u16, body, CRC-32, all under COBS, ended
// by 0x00.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/bytes.h"
#include "runtime/span.h"
#include "wire/messages.h"

namespace tbft {
namespace wire {

constexpr size_t kFrameHeaderBytes = 4;
constexpr size_t kFrameCrcBytes = 4;
constexpr size_t kMinPayload = kFrameHeaderBytes + kFrameCrcBytes;
constexpr size_t kMaxPayload = kMinPayload + kBodyLimit;
// COBS adds a byte per 254, and the delimiter follows.
constexpr size_t kMaxEncoded = kMaxPayload + kMaxPayload / 254 + 2;

// What a byte did to the decoder.
enum class FrameResult : uint8_t {
  kPending = 0,   // in the middle of a frame, or between frames
  kFrame = 1,     // it ended a good frame: payload() holds it until the next byte
  kTooLong = 2,   // it ended a frame longer than kMaxPayload
  kBadCobs = 3,   // it ended a frame in the middle of a COBS block
  kTooShort = 4,  // it ended a frame shorter than header and CRC
  kBadCrc = 5,
};

// Header and body of a good frame; points into the decoder.
struct FrameView {
  uint8_t version = 0;
  uint8_t type = 0;
  uint16_t sequence = 0;
  uint32_t crc = 0;
  Span<const uint8_t> body;
};

// Takes one byte at a time; after a 0x00 it is ready for the next frame, whatever came before.
class FrameDecoder {
 public:
  FrameResult push(uint8_t byte);
  // The good frame just ended, without COBS, CRC included; at least kMinPayload bytes.
  Span<const uint8_t> payload() const { return {buffer_, size_}; }
  FrameView frame() const;
  // Whether the next byte begins a frame.
  bool between_frames() const { return fresh_; }

 private:
  void start();
  void store(uint8_t byte);
  FrameResult end();

  uint8_t buffer_[kMaxPayload];
  size_t size_ = 0;
  uint32_t block_left_ = 0;  // bytes until the next COBS code
  bool zero_pending_ =
      false;  // the block that ends is followed by a zero, unless the frame ends too
  bool too_long_ = false;
  bool fresh_ = true;
};

// Appends header, body and CRC to `out`, which has room for kMinPayload + body.size() bytes;
// returns that number.
size_t make_payload(uint8_t type, uint16_t sequence, Span<const uint8_t> body, uint8_t* out);
// Completes a payload whose body (`body_bytes`) is in place behind the header's room; returns the
// payload's size.
size_t finish_payload(uint8_t type, uint16_t sequence, size_t body_bytes, uint8_t* payload);
// COBS and the delimiter; at most kMaxPayload bytes in, `out` has room for kMaxEncoded. Returns the
// bytes written.
size_t encode_frame(Span<const uint8_t> payload, uint8_t* out);

}  // namespace wire
}  // namespace tbft
