// CRC-32 (IEEE 802.3, as zlib's crc32): of artifacts and weight checkpoints.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tbft {

// Goes on from `crc`, the value for the bytes before (0 at the start).
uint32_t crc32(uint32_t crc, const uint8_t* data, size_t size);

}  // namespace tbft
