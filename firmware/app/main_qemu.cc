// The firmware on an emulated board: static storage and wiring. Speaks the wire protocol over the
// board's UART; files of the computer stand for what a board would keep without power.
#include <cstdint>
#include <cstring>

#include "app/board_app.h"
#include "app/duty_app.h"
#include "app/file_artifact_store.h"
#include "app/qemu_options.h"
#include "fault.h"
#include "hal_memory/ram_sample_cache.h"
#include "hal_qemu/file_flash.h"
#include "hal_qemu/memory_pins.h"
#include "hal_qemu/semihosting.h"
#include "hal_qemu/stack_usage.h"
#include "hal_qemu/uart_stream.h"
#include "hal_qemu/virtual_time.h"
#include "hal_virtual/replay.h"
#include "hal_virtual/virtual_time.h"
#include "linker_symbols.h"
#include "runtime/flash_area.h"
#include "wire/frame.h"

namespace {

// exporter/boards/<board>.toml says the same to the planner.
constexpr uint32_t kSramArenaBytes = 512U << 10;
constexpr uint32_t kPsramArenaBytes = 4U << 20;
constexpr uint32_t kArtifactBytes = 2U << 20;
constexpr uint32_t kCacheBytes = 6U << 20;
constexpr uint32_t kInputBytes = 256U << 10;
// Flash: weight checkpoints, schedule of duty-cycled operation, its samples.
constexpr uint32_t kWeightsBytes = 2U << 20;
constexpr uint32_t kScheduleBytes = 16U << 10;
constexpr uint32_t kSampleStoreBytes = 512U << 10;
constexpr uint32_t kFlashBytes = kWeightsBytes + kScheduleBytes + kSampleStoreBytes;
constexpr uint32_t kFlashEraseBytes = 4096;
constexpr uint32_t kFlashProgramBytes = 4;
constexpr size_t kEvents = 1024;
constexpr size_t kDutyEvents = 512;
constexpr size_t kStoredSamples = 256;
constexpr size_t kTuneItems = 256;
constexpr size_t kReplayBytes = 768U << 10;
constexpr uint32_t kBatteryPoints = 256;
constexpr int kFailureStatus = 1;
constexpr int kUsageStatus = 2;

// The host has one request on its way, and perhaps sends it again: nothing is ever held up.
static_assert(tbft::kReceiveRingBytes > 2 * tbft::wire::kMaxEncoded,
              "the receive ring takes two of the longest frames");

#define TBFT_PSRAM __attribute__((section(".psram")))

alignas(16) uint8_t g_sram_arena[kSramArenaBytes];
alignas(16) TBFT_PSRAM uint8_t g_psram_arena[kPsramArenaBytes];
alignas(16) TBFT_PSRAM uint8_t g_artifact[kArtifactBytes];
TBFT_PSRAM uint8_t g_cache[kCacheBytes];
TBFT_PSRAM int8_t g_input[kInputBytes];
TBFT_PSRAM uint8_t g_flash[kFlashBytes];
TBFT_PSRAM tbft::wire::PhaseRecord g_events[kEvents];
TBFT_PSRAM tbft::wire::DutyEvent g_duty_events[kDutyEvents];
TBFT_PSRAM tbft::duty::StoredSample g_stored_samples[kStoredSamples];
TBFT_PSRAM tbft::duty::TuneItem g_tune_items[kTuneItems];
TBFT_PSRAM uint8_t g_replay[kReplayBytes];
TBFT_PSRAM tbft::BatteryPoint g_battery[kBatteryPoints];
char g_command_line[tbft::QemuOptions::kTextBytes];

// By this host/transport/protocol_qemu.py knows what board an image is for.
extern "C" __attribute__((section(".image_board"), used)) const char tbft_image_board[] =
    "tbft-board:" TBFT_BOARD_NAME;

[[noreturn]] void give_up(int status, const char* before, const char* what, const char* after) {
  tbft::semihosting::print("error: ");
  tbft::semihosting::print(before);
  tbft::semihosting::print(what);
  tbft::semihosting::print(after);
  tbft::semihosting::print("\n");
  tbft::semihosting::exit(status);
}

// Bytes of the artifact that the store holds now: from its file, else from the image; 0 where there
// is none.
uint32_t stored_artifact(const char* path, tbft::FileArtifactStore* store) {
  if (path != nullptr) {
    const int32_t size = store->open_file(path);
    if (size < 0) {
      give_up(kFailureStatus, "the artifact ", path, " cannot be read, or does not fit 2 MiB");
    }
    if (size > 0) return static_cast<uint32_t>(size);
  }
  const tbft::Span<const uint8_t> linked = tbft::linked_artifact();
  if (linked.size() > kArtifactBytes) {
    give_up(kFailureStatus, "the artifact linked in", "", " does not fit 2 MiB");
  }
  if (!linked.empty()) memcpy(g_artifact, linked.data(), linked.size());
  return static_cast<uint32_t>(linked.size());
}

uint32_t distance(const uint8_t* from, const uint8_t* to) {
  return static_cast<uint32_t>(to - from);
}

tbft::wire::BoardInfo board_info(const char* name) {
  tbft::wire::BoardInfo info;
  info.board = name;
  info.firmware = TBFT_VERSION;
  info.clock_hz = tbft::kVirtualClockHz;
  info.flash_bytes = distance(tbft_flash_start, tbft_flash_end);
  info.static_ram_bytes =
      distance(tbft_data_start, tbft_data_end) + distance(tbft_bss_start, tbft_bss_end);
  info.static_psram_bytes = distance(tbft_psram_start, tbft_psram_end);
  info.stack_bytes = tbft::stack_bytes();
  info.stack_used_bytes = tbft::stack_used_bytes;
  return info;
}

}  // namespace

// Tells it over the port in words, and ends the emulator: a board with a watchdog would start
// again.
extern "C" void tbft_fault(const char* what, uint32_t pc, uint32_t address) {
  namespace wire = tbft::wire;
  constexpr char kFault[] = "fault: ";
  static char text[kFaultTextBytes];
  (void)tbft_fault_text(what, pc, address, text);
  tbft::semihosting::print(kFault);
  tbft::semihosting::print(text);
  tbft::semihosting::print("\n");
  static uint8_t body[1 + sizeof kFault + kFaultTextBytes];
  static uint8_t payload[wire::kMinPayload + sizeof body];
  static uint8_t encoded[wire::kMaxEncoded + 1];  // what may have been on its way ends first
  size_t size = 0;
  body[size++] = static_cast<uint8_t>(wire::LogLevel::kError);
  memcpy(body + size, kFault, sizeof kFault - 1);
  size += sizeof kFault - 1;
  memcpy(body + size, text, strlen(text));
  size += strlen(text);
  const size_t bytes = wire::make_payload(wire::Log::kType, 0, {body, size}, payload);
  encoded[0] = 0;
  tbft::UartStream::send(encoded, 1 + wire::encode_frame({payload, bytes}, encoded + 1));
  tbft::semihosting::exit(kFaultStatus);
}

int main() {
  tbft::QemuOptions options;
  options.region_bytes[0] = kSramArenaBytes;
  options.region_bytes[1] = kPsramArenaBytes;
  options.cache_bytes = kCacheBytes;
  options.board_name = TBFT_BOARD_NAME;
  (void)tbft::semihosting::command_line(g_command_line, sizeof g_command_line);
  if (const char* word = options.parse(g_command_line)) {
    give_up(kUsageStatus, "the option ", word, " is unknown or has a value out of range");
  }

  // Static: the stack is measured, and these are large.
  static tbft::QemuClock qemu_clock;
  static tbft::VirtualTime clock(qemu_clock);
  static tbft::MemoryPins pins;
  static tbft::RamSampleCache cache(g_cache, options.cache_bytes);
  static tbft::QemuFlash flash(g_flash, kFlashBytes, kFlashEraseBytes, kFlashProgramBytes);
  if (options.flash != nullptr && !flash.open_file(options.flash)) {
    give_up(kFailureStatus, "the flash file ", options.flash, " cannot be read or written");
  }
  flash.cut_power_at(options.power_cut);
  static tbft::FlashArea weights_flash(flash, 0, kWeightsBytes);
  static tbft::FlashArea schedule_flash(flash, kWeightsBytes, kScheduleBytes);
  static tbft::FlashArea sample_flash(flash, kWeightsBytes + kScheduleBytes, kSampleStoreBytes);
  static tbft::FileArtifactStore store({g_artifact, sizeof g_artifact});
  const uint32_t artifact_bytes = stored_artifact(options.artifact, &store);
  static tbft::Span<uint8_t> regions[] = {{g_sram_arena, options.region_bytes[0]},
                                          {g_psram_arena, options.region_bytes[1]}};
  constexpr size_t kRegions = sizeof regions / sizeof regions[0];
  static tbft::UartStream stream;
  static tbft::BoardApp app(tbft::BoardParts{board_info(options.board_name),
                                             clock,
                                             stream,
                                             &pins,
                                             weights_flash,
                                             cache,
                                             store,
                                             {regions, kRegions},
                                             {g_input, sizeof g_input},
                                             {g_events, kEvents}});
  static tbft::Replay replay(g_replay, sizeof g_replay, g_battery, kBatteryPoints);
  static tbft::DutyApp duty({clock,
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
  app.start("power on", artifact_bytes);
  duty.boot();
  while (app.dispatcher.poll(tbft::ByteStream::kForever)) {
  }
  return 0;
}
