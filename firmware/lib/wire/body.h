// Little-endian fields of message bodies; every access is checked against the length.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "runtime/bytes.h"
#include "runtime/span.h"

namespace tbft {
namespace wire {

// Reads fields one after another. Beyond the end everything is 0, and finished() false.
class BodyReader {
 public:
  explicit BodyReader(Span<const uint8_t> body) : body_(body) {}

  uint8_t u8() {
    const uint8_t* p = take(1);
    return p != nullptr ? *p : uint8_t{0};
  }
  uint16_t u16() {
    const uint8_t* p = take(2);
    return p != nullptr ? static_cast<uint16_t>(load_u16(p)) : uint16_t{0};
  }
  uint32_t u32() {
    const uint8_t* p = take(4);
    return p != nullptr ? load_u32(p) : 0;
  }
  uint64_t u64() {
    const uint64_t low = u32();
    return low | (uint64_t{u32()} << 32);
  }
  int16_t i16() { return static_cast<int16_t>(u16()); }
  int32_t i32() { return static_cast<int32_t>(u32()); }
  void copy(uint8_t* out, size_t size) {
    const uint8_t* p = take(size);
    if (p != nullptr) {
      memcpy(out, p, size);
    }
  }
  // All that is left, which must be a whole number of units of this many bytes.
  Span<const uint8_t> rest(size_t unit) {
    const size_t left = body_.size() - at_;
    if (left % unit != 0) {
      ok_ = false;
      return {};
    }
    const uint8_t* p = take(left);
    return p != nullptr ? Span<const uint8_t>(p, left) : Span<const uint8_t>();
  }
  // Whether every field was there, and nothing else.
  bool finished() const { return ok_ && at_ == body_.size(); }

 private:
  const uint8_t* take(size_t size) {
    if (!ok_ || size > body_.size() - at_) {
      ok_ = false;
      return nullptr;
    }
    const uint8_t* p = body_.data() + at_;
    at_ += size;
    return p;
  }

  Span<const uint8_t> body_;
  size_t at_ = 0;
  bool ok_ = true;
};

// Appends fields to a buffer. What does not fit is left out, and ok() false.
class BodyWriter {
 public:
  explicit BodyWriter(Span<uint8_t> out) : out_(out) {}

  void u8(uint8_t value) {
    if (uint8_t* p = take(1)) {
      *p = value;
    }
  }
  void u16(uint16_t value) {
    if (uint8_t* p = take(2)) {
      store_u16(p, value);
    }
  }
  void u32(uint32_t value) {
    if (uint8_t* p = take(4)) {
      store_u32(p, value);
    }
  }
  void u64(uint64_t value) {
    u32(static_cast<uint32_t>(value));
    u32(static_cast<uint32_t>(value >> 32));
  }
  void i16(int16_t value) { u16(static_cast<uint16_t>(value)); }
  void i32(int32_t value) { u32(static_cast<uint32_t>(value)); }
  void bytes(Span<const uint8_t> data) {
    if (uint8_t* p = take(data.size())) {
      if (!data.empty()) {
        memcpy(p, data.data(), data.size());
      }
    }
  }
  // Room for `size` bytes that the caller fills; nullptr when there is none.
  uint8_t* take(size_t size) {
    if (!ok_ || size > out_.size() - at_) {
      ok_ = false;
      return nullptr;
    }
    uint8_t* p = out_.data() + at_;
    at_ += size;
    return p;
  }
  size_t size() const { return at_; }
  size_t room() const { return out_.size() - at_; }
  bool ok() const { return ok_; }

 private:
  Span<uint8_t> out_;
  size_t at_ = 0;
  bool ok_ = true;
};

}  // namespace wire
}  // namespace tbft
