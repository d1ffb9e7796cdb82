#include "bare.h"

#if defined(__unix__)
#include <cstdio>
#include <cstdlib>
#else
#include "hal_qemu/semihosting.h"
#include "hal_qemu/virtual_time.h"
#endif

extern "C" {
// Their addresses are the plugin's markers, so they must stay functions of their own.
__attribute__((noinline, used)) void tbft_count_begin() { asm volatile(""); }
__attribute__((noinline, used)) void tbft_count_end() { asm volatile(""); }
}

namespace tbft::bare {
namespace {

#if defined(__unix__)

constexpr size_t kBlocks = 64;
void* g_blocks[kBlocks];
size_t g_used = 0;

uint64_t instructions() { return 0; }

#else

constexpr size_t kPoolBytes = 2U << 20;
alignas(16) uint8_t g_pool[kPoolBytes];
size_t g_used = 0;

#endif

}  // namespace

void Counter::begin() {
  tbft_count_begin();
  start_ = instructions();
}

uint64_t Counter::end() {
  const uint64_t now = instructions();
  tbft_count_end();
  return now - start_;
}

#if defined(__unix__)

const char* board() { return "native"; }

void print(const char* text) {
  (void)fputs(text, stdout);
  (void)fflush(stdout);
}

void stop(int status) { exit(status); }

int64_t read_file(const char* path, void* to, size_t capacity) {
  FILE* const file = fopen(path, "rb");
  if (file == nullptr) return -1;
  const size_t size = fread(to, 1, capacity, file);
  // A full buffer may hide that there is more.
  const bool whole = feof(file) != 0 && ferror(file) == 0;
  (void)fclose(file);
  return whole ? static_cast<int64_t>(size) : -1;
}

// The heap, so that the address sanitizer sees the ends of every buffer.
void* allocate(size_t bytes) {
  void* const block = malloc(bytes > 0 ? bytes : 1);
  if (block == nullptr || g_used == kBlocks) {
    Line().text("error: a test case wants more memory than there is");
    stop(1);
  }
  g_blocks[g_used++] = block;
  return block;
}

void release() {
  while (g_used > 0) free(g_blocks[--g_used]);
}

#else

const char* board() { return TBFT_BOARD_NAME; }

void print(const char* text) { semihosting::print(text); }

void stop(int status) { semihosting::exit(status); }

int64_t read_file(const char* path, void* to, size_t capacity) {
  const int32_t file = semihosting::open(path, semihosting::Mode::kRead);
  if (file < 0) return -1;
  const int32_t size = semihosting::size(file);  // moves to the end on some boards
  const bool whole = size >= 0 && static_cast<size_t>(size) <= capacity &&
                     semihosting::seek(file, 0) &&
                     semihosting::read(file, to, static_cast<uint32_t>(size)) == size;
  semihosting::close(file);
  return whole ? size : -1;
}

void* allocate(size_t bytes) {
  const size_t rounded = (bytes + 15) & ~size_t{15};
  if (rounded > kPoolBytes - g_used) {
    Line().text("error: a test case wants more memory than there is");
    stop(1);
  }
  void* const block = g_pool + g_used;
  g_used += rounded;
  return block;
}

void release() { g_used = 0; }

#endif

Line::~Line() {
  text_[size_] = '\n';
  text_[size_ + 1] = '\0';
  print(text_);
}

void Line::put(char c) {
  if (size_ < kCapacity) text_[size_++] = c;
}

Line& Line::text(const char* text) {
  while (*text != '\0') put(*text++);
  return *this;
}

Line& Line::number(int64_t value) {
  char digits[20];
  size_t n = 0;
  uint64_t left = value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  do {
    digits[n++] = static_cast<char>('0' + left % 10);
    left /= 10;
  } while (left != 0);
  if (value < 0) put('-');
  while (n > 0) put(digits[--n]);
  return *this;
}

Line& Line::hex(const uint8_t* bytes, size_t size) {
  constexpr char kDigits[] = "0123456789abcdef";
  for (size_t i = 0; i < size; ++i) {
    put(kDigits[bytes[i] >> 4]);
    put(kDigits[bytes[i] & 15]);
  }
  return *this;
}

}  // namespace tbft::bare
