// The calls of Xtensa's simulator: a number and arguments in a2 … a5, answers in a2 and a3.
#if defined(__XTENSA__)

#include <cstring>

#include "hal_qemu/semihosting.h"

namespace tbft {
namespace semihosting {
namespace {

enum Call : uint32_t {
  kExit = 1,
  kRead = 3,
  kWrite = 4,
  kOpen = 5,
  kClose = 6,
  kSeek = 19,
  kArgumentCount = 1000,
  kArgumentBytes = 1001,
  kArguments = 1002,
};

// QEMU hands the flags of open() to the computer as they are: Linux's O_RDONLY, O_RDWR, O_CREAT,
// O_TRUNC.
constexpr uint32_t kFlags[] = {0, 2, 2 | 0x40 | 0x200};
constexpr uint32_t kRights = 0644;
constexpr uint32_t kFromStart = 0;
constexpr uint32_t kFromEnd = 2;
constexpr int32_t kStandardError = 2;

int32_t call(Call number, uint32_t first, uint32_t second = 0, uint32_t third = 0) {
  register uint32_t a2 asm("a2") = number;
  register uint32_t a3 asm("a3") = first;
  register uint32_t a4 asm("a4") = second;
  register uint32_t a5 asm("a5") = third;
  asm volatile("simcall" : "+r"(a2), "+r"(a3) : "r"(a4), "r"(a5) : "memory");
  return static_cast<int32_t>(a2);
}

uint32_t address(const void* pointer) {
  return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(pointer));
}

}  // namespace

int32_t open(const char* path, Mode mode) {
  return call(kOpen, address(path), kFlags[static_cast<uint8_t>(mode)], kRights);
}

void close(int32_t file) { (void)call(kClose, static_cast<uint32_t>(file)); }

int32_t read(int32_t file, void* data, uint32_t size) {
  return call(kRead, static_cast<uint32_t>(file), address(data), size);
}

bool write(int32_t file, const void* data, uint32_t size) {
  return call(kWrite, static_cast<uint32_t>(file), address(data), size) ==
         static_cast<int32_t>(size);
}

bool seek(int32_t file, uint32_t offset) {
  return call(kSeek, static_cast<uint32_t>(file), offset, kFromStart) ==
         static_cast<int32_t>(offset);
}

int32_t size(int32_t file) { return call(kSeek, static_cast<uint32_t>(file), 0, kFromEnd); }

size_t command_line(char* text, size_t capacity) {
  const int32_t count = call(kArgumentCount, 0);
  const int32_t bytes = call(kArgumentBytes, 0);
  text[0] = '\0';
  // What comes is an array of count + 1 pointers, the strings behind it.
  if (count < 2 || bytes < 0 || static_cast<size_t>(bytes) > capacity) return 0;
  (void)call(kArguments, address(text));
  size_t at = static_cast<size_t>(count + 1) * sizeof(uint32_t);
  at += strlen(text + at) + 1;  // the image's name
  const size_t length = static_cast<size_t>(bytes) - at - 1;
  memmove(text, text + at, length + 1);
  for (size_t i = 0; i < length; ++i) {
    if (text[i] == '\0') text[i] = ' ';
  }
  return length;
}

void print(const char* text) { (void)write(kStandardError, text, strlen(text)); }

void exit(int status) {
  for (;;) {
    (void)call(kExit, static_cast<uint32_t>(status));
  }
}

}  // namespace semihosting
}  // namespace tbft

#endif
