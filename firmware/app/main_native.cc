// The firmware as a process of this computer: static storage and wiring. Speaks the wire protocol
// over standard input and output.
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "app/board_app.h"
#include "app/duty_app.h"
#include "hal_memory/ram_sample_cache.h"
#include "hal_native/fd_stream.h"
#include "hal_native/file_flash.h"
#include "hal_native/native_clock.h"
#include "hal_virtual/replay.h"
#include "hal_virtual/virtual_time.h"
#include "runtime/flash_area.h"

namespace {

constexpr size_t kArenaBytes = 2U << 20;
constexpr size_t kArtifactBytes = 4U << 20;
constexpr size_t kCacheBytes = 64U << 20;
constexpr size_t kInputBytes = 256U << 10;
// Flash: weight checkpoints, schedule of duty-cycled operation, its samples.
constexpr uint32_t kWeightsBytes = 2U << 20;
constexpr uint32_t kScheduleBytes = 16U << 10;
constexpr uint32_t kSampleStoreBytes = 4U << 20;
constexpr uint32_t kFlashBytes = kWeightsBytes + kScheduleBytes + kSampleStoreBytes;
constexpr uint32_t kFlashEraseBytes = 4096;
constexpr uint32_t kFlashProgramBytes = 4;
constexpr size_t kEvents = 1024;
constexpr size_t kDutyEvents = 1024;
constexpr size_t kStoredSamples = 4096;
constexpr size_t kTuneItems = 2048;
constexpr size_t kReplayBytes = 32U << 20;
constexpr uint32_t kBatteryPoints = 4096;
constexpr uint32_t kPollMs = 1000;
constexpr int kUsageStatus = 2;

alignas(16) uint8_t g_arena[kArenaBytes];
alignas(16) uint8_t g_artifact[kArtifactBytes];
uint8_t g_cache[kCacheBytes];
int8_t g_input[kInputBytes];
uint8_t g_flash[kFlashBytes];
tbft::wire::PhaseRecord g_events[kEvents];
tbft::wire::DutyEvent g_duty_events[kDutyEvents];
tbft::duty::StoredSample g_stored_samples[kStoredSamples];
tbft::duty::TuneItem g_tune_items[kTuneItems];
uint8_t g_replay[kReplayBytes];
tbft::BatteryPoint g_battery[kBatteryPoints];

struct Options {
  const char* flash = nullptr;
  const char* artifact = nullptr;
  const char* board = "native";
  uint64_t region_bytes[tbft::kMaxRegions] = {kArenaBytes};
  uint32_t regions = 1;
  uint64_t cache_bytes = kCacheBytes;
};

constexpr char kHelp[] =
    "usage: tbft_native [--flash FILE] [--artifact FILE] [--board-name NAME] "
    "[--arena-bytes N[,N...]] [--cache-bytes N]\n"
    "The firmware as a process: speaks the wire protocol on standard input and output.\n"
    "  --flash FILE       keeps committed weights in this file\n"
    "  --artifact FILE    loads this artifact at the start instead of the one linked in\n"
    "  --board-name NAME  what Identify says\n"
    "  --arena-bytes N    pretends to have less memory; N,N,... in several regions\n"
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

// Sizes of up to four regions, separated by commas, each a multiple of 16 but for the last.
bool parse_regions(const char* text, Options* options) {
  uint64_t left = kArenaBytes;
  options->regions = 0;
  while (options->regions < tbft::kMaxRegions) {
    char* end = nullptr;
    const unsigned long long number = strtoull(text, &end, 10);
    if (end == text || number > left) {
      return false;
    }
    left -= number;
    options->region_bytes[options->regions++] = number;
    if (*end == '\0') {
      return true;
    }
    if (*end != ',' || number % tbft::kStorageAlignment != 0) {
      return false;
    }
    text = end + 1;
  }
  return false;
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
      good = parse_regions(value, options);
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
  const tbft::Span<const uint8_t> linked = tbft::linked_artifact();
  if (linked.size() > sizeof g_artifact) {
    fprintf(stderr, "error: the artifact linked in has %zu bytes, and does not fit %zu\n",
            linked.size(), sizeof g_artifact);
    return -1;
  }
  if (!linked.empty()) memcpy(g_artifact, linked.data(), linked.size());
  return static_cast<int64_t>(linked.size());
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, &options)) {
    return kUsageStatus;
  }
  (void)std::signal(SIGPIPE, SIG_IGN);

  tbft::NativeClock native_clock;
  tbft::VirtualTime clock(native_clock);
  tbft::FdStream stream(0, 1);
  tbft::RamSampleCache cache(g_cache, options.cache_bytes);
  tbft::FileFlash flash(g_flash, kFlashBytes, kFlashEraseBytes, kFlashProgramBytes);
  if (options.flash != nullptr && !flash.open_file(options.flash)) {
    fprintf(stderr, "error: the flash file %s cannot be opened\n", options.flash);
    return 1;
  }
  tbft::Span<uint8_t> regions[tbft::kMaxRegions];
  size_t start = 0;
  for (uint32_t i = 0; i < options.regions; ++i) {
    regions[i] = {g_arena + start, static_cast<size_t>(options.region_bytes[i])};
    start += regions[i].size();
  }
  tbft::FlashArea weights_flash(flash, 0, kWeightsBytes);
  tbft::FlashArea schedule_flash(flash, kWeightsBytes, kScheduleBytes);
  tbft::FlashArea sample_flash(flash, kWeightsBytes + kScheduleBytes, kSampleStoreBytes);
  tbft::wire::RamArtifactStore store({g_artifact, sizeof g_artifact});
  tbft::wire::BoardInfo board;
  board.board = options.board;
  board.firmware = TBFT_VERSION;
  tbft::BoardApp app({board,
                      clock,
                      stream,
                      nullptr,
                      weights_flash,
                      cache,
                      store,
                      {regions, options.regions},
                      {g_input, sizeof g_input},
                      {g_events, kEvents}});
  tbft::Replay replay(g_replay, sizeof g_replay, g_battery, kBatteryPoints);
  tbft::DutyApp duty({clock,
                      replay,
                      &replay,
                      &replay,
                      schedule_flash,
                      sample_flash,
                      {g_input, sizeof g_input},
                      {g_stored_samples, kStoredSamples},
                      {g_tune_items, kTuneItems},
                      {g_duty_events, kDutyEvents}},
                     app.engine, app.checkpoint, app.events, app.dispatcher);
  const int64_t size =
      options.artifact != nullptr ? read_artifact(options.artifact) : copy_linked_artifact();
  if (size < 0) {
    return 1;
  }
  if (size > 0 || options.artifact != nullptr) {
    (void)app.loader.load_stored(static_cast<uint32_t>(size));  // Identify tells what came of it
  }
  duty.boot();
  while (app.dispatcher.poll(kPollMs)) {
  }
  flash.close_file();
  return 0;
}
