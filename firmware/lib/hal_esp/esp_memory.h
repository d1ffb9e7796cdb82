// What memory the chip really has at the start: nothing here is a constant of a data sheet.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tbft {

struct EspBlock {
  uint8_t* data = nullptr;  // a multiple of 16
  size_t size = 0;
};

// Takes the largest free piece of internal RAM (or of PSRAM) from the heap, for good, and of it at
// most `limit` bytes. `leave` bytes of what is free in all stay for the tasks, drivers and
// interrupt handlers that come later. Empty when nothing is left then.
//
// The internal RAM of an ESP32 is in several pieces (ROM data and the second core's start-up code
// lie between): its largest free block counts, not the sum, and a second call gives the next one.
EspBlock esp_take_internal(size_t limit, size_t leave);
EspBlock esp_take_psram(size_t limit);

}  // namespace tbft
