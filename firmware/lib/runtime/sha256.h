// SHA-256 (FIPS 180-4): weight hash and model hash.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tbft {

class Sha256 {
 public:
  static constexpr size_t kDigestBytes = 32;

  Sha256();
  void update(const uint8_t* data, size_t size);
  // Ends the message; the object must not be used afterwards.
  void finish(uint8_t digest[kDigestBytes]);

 private:
  void block(const uint8_t* data);

  uint32_t state_[8];
  uint64_t message_bytes_ = 0;
  uint8_t buffer_[64];
};

}  // namespace tbft
