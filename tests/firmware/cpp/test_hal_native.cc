// The PC forms of the hardware interfaces: clock, byte stream, flash with a file behind it, sample
// cache.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "hal_memory/ram_sample_cache.h"
#include "hal_native/fd_stream.h"
#include "hal_native/file_flash.h"
#include "hal_native/native_clock.h"

namespace {

using namespace tbft;

int failures = 0;

void expect(bool fine, const char* what, int line) {
  if (fine) return;
  fprintf(stderr, "test_hal_native.cc:%d: %s\n", line, what);
  ++failures;
}
#define EXPECT(condition) expect((condition), #condition, __LINE__)

void test_clock() {
  NativeClock clock;
  const uint64_t start = clock.now_us();
  usleep(2000);
  const uint64_t passed = clock.now_us() - start;
  EXPECT(passed >= 2000);
  EXPECT(passed < 10'000'000);
}

void test_stream() {
  int there[2] = {-1, -1};
  int back[2] = {-1, -1};
  EXPECT(pipe(there) == 0 && pipe(back) == 0);
  FdStream stream(there[0], back[1]);
  uint8_t buffer[8] = {};
  EXPECT(stream.read(buffer, sizeof buffer, 0) == 0);
  EXPECT(stream.read(buffer, sizeof buffer, 20) == 0);
  EXPECT(::write(there[1], "hello world", 11) == 11);
  EXPECT(stream.read(buffer, sizeof buffer, 1000) == 8);
  EXPECT(memcmp(buffer, "hello wo", 8) == 0);
  EXPECT(stream.read(buffer, sizeof buffer, 1000) == 3);

  // More than a pipe holds: write has to wait for the reader and to go on.
  std::vector<uint8_t> sent(1 << 20);
  for (size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<uint8_t>(i * 7 + (i >> 8));
  std::vector<uint8_t> received;
  std::thread reader([&] {
    uint8_t piece[4096];
    while (received.size() < sent.size()) {
      const ssize_t n = ::read(back[0], piece, sizeof piece);
      if (n <= 0) break;
      received.insert(received.end(), piece, piece + n);
    }
  });
  EXPECT(stream.write(sent.data(), sent.size()));
  reader.join();
  EXPECT(received == sent);

  close(there[1]);
  EXPECT(stream.read(buffer, sizeof buffer, 1000) == ByteStream::kClosed);
  signal(SIGPIPE, SIG_IGN);
  close(back[0]);
  EXPECT(!stream.write(buffer, 1));
  close(there[0]);
  close(back[1]);
}

void test_flash(const std::string& folder) {
  uint8_t storage[1024];
  FileFlash flash(storage, sizeof storage, 256, 8);
  uint8_t data[16];
  uint8_t out[16];
  memset(data, 0x3c, sizeof data);
  EXPECT(flash.size_bytes() == 1024 && flash.erase_bytes() == 256 && flash.program_bytes() == 8);
  EXPECT(flash.read(1008, out, 16) && out[0] == 0xff && out[15] == 0xff);
  EXPECT(flash.program(8, data, 16));
  EXPECT(flash.read(8, out, 16) && memcmp(out, data, 16) == 0);
  memset(data, 0x0f, sizeof data);
  EXPECT(flash.program(8, data, 8));
  EXPECT(flash.read(8, out, 16) && out[0] == 0x0c && out[8] == 0x3c);
  EXPECT(!flash.program(4, data, 8));
  EXPECT(!flash.program(8, data, 4));
  EXPECT(!flash.program(1024, data, 8));
  EXPECT(!flash.program(0xfffffff8U, data, 16));
  EXPECT(!flash.erase(128, 256));
  EXPECT(!flash.erase(0, 2048));
  EXPECT(!flash.read(1020, out, 16));
  EXPECT(flash.erase(0, 256) && flash.read(8, out, 16) && out[0] == 0xff);

  const std::string path = folder + "/flash.bin";
  EXPECT(flash.open_file(path.c_str()));
  EXPECT(flash.program(256, data, 16));
  flash.close_file();
  struct stat info = {};
  EXPECT(stat(path.c_str(), &info) == 0 && info.st_size == 1024);
  uint8_t other_storage[2048];
  FileFlash other(other_storage, sizeof other_storage, 256, 8);
  EXPECT(other.open_file(path.c_str()));
  EXPECT(other.read(256, out, 16) && memcmp(out, data, 16) == 0);
  EXPECT(other.read(1024, out, 16) && out[0] == 0xff);
  other.close_file();
  EXPECT(stat(path.c_str(), &info) == 0 && info.st_size == 2048);
  EXPECT(!flash.open_file((folder + "/no/such/folder").c_str()));
  EXPECT(flash.program(512, data, 8));
  unlink(path.c_str());
}

void test_cache() {
  uint8_t storage[100];
  memset(storage, 0x01, sizeof storage);  // a stale "filled" mark must not count
  RamSampleCache cache(storage, sizeof storage);
  EXPECT(!cache.has(0));
  EXPECT(!cache.configure(97));
  EXPECT(cache.configure(96) && cache.slots() == 1);
  EXPECT(cache.configure(16) && cache.slots() == 5);
  uint8_t sample[16];
  uint8_t out[16];
  uint16_t label = 0;
  memset(sample, 0x55, sizeof sample);
  for (uint32_t slot = 0; slot < 6; ++slot)
    EXPECT(!cache.has(slot) && !cache.get(slot, out, &label));
  EXPECT(cache.put(3, sample, 999));
  EXPECT(cache.has(3) && !cache.has(2) && !cache.has(4));
  EXPECT(cache.get(3, out, &label) && label == 999 && memcmp(out, sample, 16) == 0);
  sample[0] = 1;
  EXPECT(cache.put(3, sample, 7) && cache.get(3, out, &label) && label == 7 && out[0] == 1);
  EXPECT(!cache.put(5, sample, 0));
  EXPECT(cache.put(1, sample, 2) && cache.has(1) && cache.has(3) && !cache.has(0));
  EXPECT(cache.configure(16) && !cache.has(3));
}

}  // namespace

int main() {
  const char* temporary = getenv("TMPDIR");
  std::string folder = std::string(temporary != nullptr ? temporary : "/tmp") + "/tbft-hal-XXXXXX";
  if (mkdtemp(folder.data()) == nullptr) return 2;
  test_clock();
  test_stream();
  test_flash(folder);
  test_cache();
  rmdir(folder.c_str());
  if (failures == 0) printf("test_hal_native: all passed\n");
  return failures == 0 ? 0 : 1;
}
