#include "wire/frame.h"

#include <cstring>

#include "runtime/crc32.h"

namespace tbft {
namespace wire {

FrameResult FrameDecoder::push(uint8_t byte) {
  if (byte == 0) {
    return end();
  }
  if (fresh_) {
    start();
  }
  if (block_left_ == 0) {
    if (zero_pending_) {
      store(0);
    }
    block_left_ = byte - 1U;
    zero_pending_ = byte != 0xff;
  } else {
    store(byte);
    --block_left_;
  }
  return FrameResult::kPending;
}

FrameView FrameDecoder::frame() const {
  FrameView view;
  view.version = buffer_[0];
  view.type = buffer_[1];
  view.sequence = static_cast<uint16_t>(load_u16(buffer_ + 2));
  view.body = {buffer_ + kFrameHeaderBytes, size_ - kMinPayload};
  view.crc = load_u32(buffer_ + size_ - kFrameCrcBytes);
  return view;
}

void FrameDecoder::start() {
  size_ = 0;
  block_left_ = 0;
  zero_pending_ = false;
  too_long_ = false;
  fresh_ = false;
}

void FrameDecoder::store(uint8_t byte) {
  if (size_ == kMaxPayload) {
    too_long_ = true;
    return;
  }
  buffer_[size_] = byte;
  ++size_;
}

FrameResult FrameDecoder::end() {
  if (fresh_) {
    return FrameResult::kPending;  // empty frame
  }
  fresh_ = true;
  if (too_long_) {
    return FrameResult::kTooLong;
  }
  if (block_left_ != 0) {
    return FrameResult::kBadCobs;
  }
  if (size_ < kMinPayload) {
    return FrameResult::kTooShort;
  }
  const size_t covered = size_ - kFrameCrcBytes;
  if (crc32(0, buffer_, covered) != load_u32(buffer_ + covered)) {
    return FrameResult::kBadCrc;
  }
  return FrameResult::kFrame;
}

size_t make_payload(uint8_t type, uint16_t sequence, Span<const uint8_t> body, uint8_t* out) {
  if (!body.empty()) {
    memcpy(out + kFrameHeaderBytes, body.data(), body.size());
  }
  return finish_payload(type, sequence, body.size(), out);
}

size_t finish_payload(uint8_t type, uint16_t sequence, size_t body_bytes, uint8_t* payload) {
  payload[0] = kProtocolVersion;
  payload[1] = type;
  store_u16(payload + 2, sequence);
  const size_t covered = kFrameHeaderBytes + body_bytes;
  store_u32(payload + covered, crc32(0, payload, covered));
  return covered + kFrameCrcBytes;
}

size_t encode_frame(Span<const uint8_t> payload, uint8_t* out) {
  size_t code_at = 0;
  size_t at = 1;
  uint8_t code = 1;  // 1 + bytes in the block
  for (size_t i = 0; i < payload.size(); ++i) {
    if (payload[i] != 0) {
      out[at] = payload[i];
      ++at;
      ++code;
    }
    const bool full = code == 0xff && i + 1 < payload.size();
    if (payload[i] == 0 || full) {
      out[code_at] = code;
      code_at = at;
      ++at;
      code = 1;
    }
  }
  out[code_at] = code;
  out[at] = 0;
  return at + 1;
}

}  // namespace wire
}  // namespace tbft
