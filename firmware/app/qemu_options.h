// The words of an emulated board's command line, NAME=VALUE; bytes of a value may be written as
// %XX.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/artifact.h"

namespace tbft {

struct QemuOptions {
  static constexpr size_t kTextBytes = 4096;

  const char* flash = nullptr;              // file behind the flash
  const char* artifact = nullptr;           // file behind the artifact's place
  const char* board_name = nullptr;         // what Identify says
  uint32_t region_bytes[kMaxRegions] = {};  // of the arena
  uint32_t cache_bytes = 0;
  uint32_t power_cut = 0;  // flash operation at which power is cut, 0 never

  // Takes `text` apart, which is changed and kept. Returns nullptr, or the word that is unknown or
  // has a wrong value. Sizes are at most what is in here before.
  const char* parse(char* text);
};

}  // namespace tbft
