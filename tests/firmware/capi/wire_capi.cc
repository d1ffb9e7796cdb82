// C interface to frames and messages, for tests/python/test_protocol_cases.py.
#include <cstddef>
#include <cstdint>

#include "wire/body.h"
#include "wire/frame.h"
#include "wire/messages.h"

namespace wire = tbft::wire;

extern "C" {

// A frame with its delimiter into `out` (kMaxEncoded bytes); returns its size.
size_t wire_encode(uint8_t type, uint16_t sequence, const uint8_t* body, size_t size,
                   uint8_t* out) {
  uint8_t payload[wire::kMaxPayload];
  if (size > wire::kBodyLimit) {
    return 0;
  }
  return wire::encode_frame({payload, wire::make_payload(type, sequence, {body, size}, payload)},
                            out);
}

// Decodes a stream. For every frame that ends: u8 result, u8 version, u8 type, u16 sequence, u16
// body size, body; all but the result 0 for a damaged one. Returns the bytes written, or SIZE_MAX
// when `capacity` does not suffice.
size_t wire_decode(const uint8_t* stream, size_t size, uint8_t* out, size_t capacity) {
  wire::FrameDecoder decoder;
  wire::BodyWriter writer({out, capacity});
  for (size_t i = 0; i < size; ++i) {
    const wire::FrameResult result = decoder.push(stream[i]);
    if (result == wire::FrameResult::kPending) {
      continue;
    }
    wire::FrameView frame;
    if (result == wire::FrameResult::kFrame) {
      frame = decoder.frame();
    }
    writer.u8(static_cast<uint8_t>(result));
    writer.u8(frame.version);
    writer.u8(frame.type);
    writer.u16(frame.sequence);
    writer.u16(static_cast<uint16_t>(frame.body.size()));
    writer.bytes(frame.body);
  }
  return writer.ok() ? writer.size() : SIZE_MAX;
}

// Reads the body of a message and writes it again. Returns the bytes written, -1 for an unknown
// type, -2 for a body that does not decode, -3 when `capacity` does not suffice.
int wire_reencode(uint8_t type, const uint8_t* body, size_t size, uint8_t* out, size_t capacity) {
  int outcome = -1;
  const bool known = wire::visit_message(type, [&](auto message) {
    wire::BodyWriter writer({out, capacity});
    if (!message.decode({body, size})) {
      outcome = -2;
    } else if (!message.encode(writer)) {
      outcome = -3;
    } else {
      outcome = static_cast<int>(writer.size());
    }
  });
  return known ? outcome : -1;
}

}  // extern "C"
