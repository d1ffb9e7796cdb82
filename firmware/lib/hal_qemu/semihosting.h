// What the emulator does for the program beyond the board's hardware: files of the computer, the
// command line, text for people, the end. Calls of ARM's semihosting (also taken up by RISC-V), or
// of Xtensa's simulator.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tbft {
namespace semihosting {

enum class Mode : uint8_t {
  kRead,    // must exist
  kUpdate,  // reads and writes; must exist
  kCreate,  // reads and writes; made, or emptied
};

// A file, or −1. `path` is NUL-terminated, at most 1,000 bytes.
int32_t open(const char* path, Mode mode);
void close(int32_t file);
// Bytes read, less than `size` at the end of the file; −1 when it failed.
int32_t read(int32_t file, void* data, uint32_t size);
// Whether all was written.
bool write(int32_t file, const void* data, uint32_t size);
bool seek(int32_t file, uint32_t offset);
// Bytes in the file, or −1.
int32_t size(int32_t file);

// The words behind the image's name, with one space between two, NUL-terminated. Returns the
// length; 0 where there are none, or when `capacity` (at least 1) does not take them.
size_t command_line(char* text, size_t capacity);
// On the emulator's standard error.
void print(const char* text);
// Ends the emulator with this status.
[[noreturn]] void exit(int status);

}  // namespace semihosting
}  // namespace tbft
