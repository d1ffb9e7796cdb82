// The firmware as a process of this computer: static storage and wiring. Speaks the wire protocol
// over standard input and output.
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "hal_native/fd_stream.h"
#include "hal_native/memory_flash.h"
#include "hal_native/native_clock.h"
#include "hal_native/ram_sample_cache.h"
#include "runtime/checkpoint.h"
#include "runtime/engine.h"
#include "wire/artifact_loader.h"
#include "wire/counting_flash.h"
#include "wire/dispatcher.h"
#include "wire/event_recorder.h"

#ifndef TBFT_VERSION
#define TBFT_VERSION "unknown"
#endif

#ifdef TBFT_LINKED_ARTIFACT
extern "C" const uint8_t tbft_linked_artifact[];  // linked_artifact.S
extern "C" const uint8_t tbft_linked_artifact_end[];
#endif

namespace {

constexpr size_t kArenaBytes = 2U << 20;
constexpr size_t kArtifactBytes = 4U << 20;
constexpr size_t kCacheBytes = 64U << 20;
constexpr size_t kInputBytes = 256U << 10;
constexpr uint32_t kFlashBytes = 2U << 20;
constexpr uint32_t kFlashEraseBytes = 4096;
constexpr uint32_t kFlashProgramBytes = 4;
constexpr size_t kEvents = 1024;
constexpr uint32_t kPollMs = 1000;
constexpr int kUsageStatus = 2;

alignas(16) uint8_t g_arena[kArenaBytes];
alignas(16) uint8_t g_artifact[kArtifactBytes];
uint8_t g_cache[kCacheBytes];
int8_t g_input[kInputBytes];
uint8_t g_flash[kFlashBytes];
tbft::wire::PhaseRecord g_events[kEvents];

struct Options {
  const char* flash = nullptr;
  const char* artifact = nullptr;
  const char* board = "native";
  uint64_t arena_bytes = kArenaBytes;
  uint64_t cache_bytes = kCacheBytes;
};

constexpr char kHelp[] =
    "usage: tbft_native [--flash FILE] [--artifact FILE] [--board-name NAME] [--arena-bytes N] "
    "[--cache-bytes N]\n"
    "The firmware as a process: speaks the wire protocol on standard input and output.\n"
    "  --flash FILE       keeps committed weights in this file\n"
    "  --artifact FILE    loads this artifact at the start instead of the one linked in\n"
    "  --board-name NAME  what Identify says\n"
    "  --arena-bytes N    pretends to have less memory\n"
    "  --cache-bytes N    pretends to have a smaller sample cache\n";

bool parse_bytes(const char* text, uint64_t limit, uint64_t* value) {
  char* end = nullptr;
  const unsigned long long number = strtoull(text, &end, 10);
  if (end == text || *end != '\0' || number > limit) {
    return false;
  }
  *value = number;
  return true;
}

bool parse(int argc, char** argv, Options* options) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const char* name = argv[i];
    const char* value = argv[i + 1];
    bool good = true;
    if (strcmp(name, "--flash") == 0) {
      options->flash = value;
    } else if (strcmp(name, "--artifact") == 0) {
      options->artifact = value;
    } else if (strcmp(name, "--board-name") == 0) {
      options->board = value;
    } else if (strcmp(name, "--arena-bytes") == 0) {
      good = parse_bytes(value, kArenaBytes, &options->arena_bytes);
    } else if (strcmp(name, "--cache-bytes") == 0) {
      good = parse_bytes(value, kCacheBytes, &options->cache_bytes);
    } else {
      good = false;
    }
    if (!good) {
      fprintf(stderr, "error: %s %s: unknown option or value out of range\n", name, value);
      return false;
    }
  }
  if (argc % 2 == 0) {
    fputs(kHelp, stderr);
  }
  return argc % 2 == 1;
}

// Bytes read into g_artifact, or −1 after a message.
int64_t read_artifact(const char* path) {
  FILE* file = fopen(path, "rb");
  if (file == nullptr) {
    fprintf(stderr, "error: the artifact %s cannot be read\n", path);
    return -1;
  }
  const size_t size = fread(g_artifact, 1, sizeof g_artifact, file);
  if (feof(file) == 0 && ferror(file) == 0) {
    (void)fgetc(file);  // where the file fills the memory, its end shows only now
  }
  const bool whole = feof(file) != 0 && ferror(file) == 0;
  fclose(file);
  if (!whole) {
    fprintf(stderr, "error: the artifact %s cannot be read, or does not fit %zu bytes\n", path,
            sizeof g_artifact);
    return -1;
  }
  return static_cast<int64_t>(size);
}

// Bytes copied into g_artifact from the image, 0 where none was linked in, or −1 after a message.
int64_t copy_linked_artifact() {
#ifdef TBFT_LINKED_ARTIFACT
  const size_t size = static_cast<size_t>(tbft_linked_artifact_end - tbft_linked_artifact);
  if (size > sizeof g_artifact) {
    fprintf(stderr, "error: the artifact linked in has %zu bytes, and does not fit %zu\n", size,
            sizeof g_artifact);
    return -1;
  }
  memcpy(g_artifact, tbft_linked_artifact, size);
  return static_cast<int64_t>(size);
#else
  return 0;
#endif
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, &options)) {
    return kUsageStatus;
  }
  (void)std::signal(SIGPIPE, SIG_IGN);

  tbft::NativeClock clock;
  tbft::FdStream stream(0, 1);
  tbft::RamSampleCache cache(g_cache, options.cache_bytes);
  tbft::MemoryFlash flash(g_flash, kFlashBytes, kFlashEraseBytes, kFlashProgramBytes);
  if (options.flash != nullptr && !flash.open_file(options.flash)) {
    fprintf(stderr, "error: the flash file %s cannot be opened\n", options.flash);
    return 1;
  }
  tbft::wire::EventRecorder events(clock, nullptr, {g_events, kEvents});
  tbft::wire::CountingFlash counting_flash(flash, events);
  tbft::Engine engine({g_arena, static_cast<size_t>(options.arena_bytes)}, &cache, &events);
  tbft::Checkpoint checkpoint(&counting_flash, &events);
  tbft::wire::RamArtifactStore store({g_artifact, sizeof g_artifact});
  tbft::wire::ArtifactLoader loader(engine, store, &checkpoint);

  tbft::wire::BoardInfo board;
  board.board = options.board;
  board.firmware = TBFT_VERSION;
  board.arena_bytes = static_cast<uint32_t>(options.arena_bytes);
  tbft::wire::Dispatcher dispatcher(board, engine, loader, &checkpoint, events,
                                    {g_input, sizeof g_input}, stream, clock);
  const int64_t size =
      options.artifact != nullptr ? read_artifact(options.artifact) : copy_linked_artifact();
  if (size < 0) {
    return 1;
  }
  if (size > 0 || options.artifact != nullptr) {
    (void)loader.load_stored(static_cast<uint32_t>(size));  // Identify tells what came of it
  }
  while (dispatcher.poll(kPollMs)) {
  }
  flash.close_file();
  return 0;
}
