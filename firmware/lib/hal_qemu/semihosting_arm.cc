// ARM's semihosting calls, on Cortex-M and on RISC-V: a number, and a block of arguments.
#if defined(__arm__) || defined(__riscv)

#include <cstring>

#include "hal_qemu/semihosting.h"

namespace tbft {
namespace semihosting {
namespace {

enum Call : uint32_t {
  kOpen = 0x01,
  kClose = 0x02,
  kWrite = 0x05,
  kRead = 0x06,
  kSeek = 0x0a,
  kLength = 0x0c,
  kCommandLine = 0x15,
  kExitExtended = 0x20,
};

constexpr uint32_t kApplicationExit = 0x20026;  // reason of an exit that is the program's wish
// Modes of kOpen: fopen's "rb", "r+b", "w+b", and "a" which ":tt" takes for standard error.
constexpr uint32_t kModes[] = {1, 3, 7};
constexpr uint32_t kAppend = 8;

int32_t call(Call number, const uint32_t* arguments) {
#if defined(__arm__)
  register uint32_t r0 asm("r0") = number;
  register const uint32_t* r1 asm("r1") = arguments;
  asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return static_cast<int32_t>(r0);
#else
  register uint32_t a0 asm("a0") = number;
  register const uint32_t* a1 asm("a1") = arguments;
  // These three, uncompressed and in one page, tell the emulator that the breakpoint is a call.
  asm volatile(
      ".option push\n"
      ".option norvc\n"
      ".balign 16\n"
      "slli zero, zero, 0x1f\n"
      "ebreak\n"
      "srai zero, zero, 7\n"
      ".option pop\n"
      : "+r"(a0)
      : "r"(a1)
      : "memory");
  return static_cast<int32_t>(a0);
#endif
}

uint32_t address(const void* pointer) {
  return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(pointer));
}

}  // namespace

int32_t open(const char* path, Mode mode) {
  const uint32_t arguments[] = {address(path), kModes[static_cast<uint8_t>(mode)],
                                static_cast<uint32_t>(strlen(path))};
  return call(kOpen, arguments);
}

void close(int32_t file) {
  const uint32_t arguments[] = {static_cast<uint32_t>(file)};
  (void)call(kClose, arguments);
}

int32_t read(int32_t file, void* data, uint32_t size) {
  const uint32_t arguments[] = {static_cast<uint32_t>(file), address(data), size};
  const int32_t missing = call(kRead, arguments);
  // An error is told as −1 or as nothing read: the caller misses bytes either way.
  return missing < 0 ? -1 : static_cast<int32_t>(size) - missing;
}

bool write(int32_t file, const void* data, uint32_t size) {
  const uint32_t arguments[] = {static_cast<uint32_t>(file), address(data), size};
  return call(kWrite, arguments) == 0;
}

bool seek(int32_t file, uint32_t offset) {
  const uint32_t arguments[] = {static_cast<uint32_t>(file), offset};
  return call(kSeek, arguments) == 0;
}

int32_t size(int32_t file) {
  const uint32_t arguments[] = {static_cast<uint32_t>(file)};
  return call(kLength, arguments);
}

size_t command_line(char* text, size_t capacity) {
  const uint32_t arguments[] = {address(text), static_cast<uint32_t>(capacity)};
  text[0] = '\0';
  if (call(kCommandLine, arguments) != 0) {
    text[0] = '\0';
    return 0;
  }
  const char* words = strchr(text, ' ');  // behind the image's name
  const size_t length = words == nullptr ? 0 : strlen(words + 1);
  memmove(text, length == 0 ? "" : words + 1, length + 1);
  return length;
}

void print(const char* text) {
  const uint32_t terminal[] = {address(":tt"), kAppend, 3};
  static int32_t error = -1;
  if (error < 0) error = call(kOpen, terminal);
  (void)write(error, text, static_cast<uint32_t>(strlen(text)));
}

void exit(int status) {
  const uint32_t arguments[] = {kApplicationExit, static_cast<uint32_t>(status)};
  for (;;) {
    (void)call(kExitExtended, arguments);
  }
}

}  // namespace semihosting
}  // namespace tbft

#endif
