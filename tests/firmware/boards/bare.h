// What the test programs of the emulated boards need of the machine they run on. The same sources
// run as programs of this computer, where the sanitizers see them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tbft::bare {

// The emulated board's name ("m4", "m7", "rv32", "lx7"), or "native".
const char* board();

// Writes to the console of the emulator.
void print(const char* text);

// Ends the run. 0 says that all is well, as from main.
[[noreturn]] void stop(int status);

// Counts instructions by the emulator's virtual time: between begin() and end(), right to a few.
// The plugin insn_counts takes what lies between for a section. Always 0 on this computer.
class Counter {
 public:
  void begin();
  uint64_t end();

 private:
  uint64_t start_ = 0;
};

// Reads a whole file of fewer than capacity bytes from the folder that the emulator was started in;
// -1 when it cannot be opened, or is larger.
int64_t read_file(const char* path, void* to, size_t capacity);

// Memory for one test case: 16-byte aligned, its content unspecified; stays until release(). The
// program stops with a message when there is no more.
void* allocate(size_t bytes);
void release();

// One line of output, put together without printf: it would be most of a small image.
class Line {
 public:
  Line() = default;
  ~Line();  // writes it, with a line feed
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  Line& text(const char* text);
  Line& number(int64_t value);
  Line& hex(const uint8_t* bytes, size_t size);

 private:
  void put(char c);

  static constexpr size_t kCapacity = 400;  // what is longer is cut
  char text_[kCapacity + 2];
  size_t size_ = 0;
};

}  // namespace tbft::bare
