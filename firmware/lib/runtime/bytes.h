// Little-endian numbers in byte buffers of any alignment.
#pragma once

#include <cstdint>

namespace tbft {

inline uint32_t load_u16(const uint8_t* p) {
  return static_cast<uint32_t>(p[0]) | (static_cast<uint32_t>(p[1]) << 8);
}
inline uint32_t load_u32(const uint8_t* p) { return load_u16(p) | (load_u16(p + 2) << 16); }
inline int32_t load_i16(const uint8_t* p) { return static_cast<int16_t>(load_u16(p)); }
inline int32_t load_i32(const uint8_t* p) { return static_cast<int32_t>(load_u32(p)); }

inline void store_u16(uint8_t* p, uint32_t value) {
  p[0] = static_cast<uint8_t>(value);
  p[1] = static_cast<uint8_t>(value >> 8);
}
inline void store_u32(uint8_t* p, uint32_t value) {
  store_u16(p, value);
  store_u16(p + 2, value >> 16);
}

}  // namespace tbft
