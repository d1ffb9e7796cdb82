// The firmware on an ESP32 board: storage and wiring. Speaks the wire protocol over the board's USB
// port or UART.
#include <esp_system.h>
#include <freertos/FreeRTOS.h>
#include <freertos/task.h>
#include <sdkconfig.h>

#include <cstdint>
#include <type_traits>

#include "app/board_app.h"
#include "app/duty_app.h"
#include "app/esp_boards.h"
#include "hal_esp/esp_clock.h"
#include "hal_esp/esp_i2c_bus.h"
#include "hal_esp/esp_memory.h"
#include "hal_esp/esp_partition_flash.h"
#include "hal_esp/esp_sleep.h"
#include "hal_esp/esp_trigger_pin.h"
#include "hal_esp/esp_uart_stream.h"
#ifndef TBFT_ESP_BOARD_ESP32
#include "hal_esp/esp_usb_stream.h"
#endif
#include "hal_memory/flash_sample_cache.h"
#include "hal_virtual/replay.h"
#include "sensors/ina219.h"
#include "sensors/ina226.h"
#include "sensors/ina228.h"
#include "sensors/powerfeather.h"
#include "wire/flash_artifact_store.h"
#include "wire/sensor_sampler.h"

// Where samples come from in duty-cycled operation, on a board that has a camera or a microphone:
// define it anywhere in the program. Without, samples are replayed from memory.
__attribute__((weak)) tbft::SampleSource* board_sample_source() { return nullptr; }

namespace {

using tbft::kEspBoard;

// The INA sensors' address with both address pins at ground, and the usual shunt of the modules.
constexpr uint32_t kReachableMs = 60'000;
constexpr uint8_t kInaAddress = 0x40;
constexpr uint32_t kInaShuntUohm = 100'000;

constexpr size_t kEvents = 256;
constexpr size_t kDutyEvents = 64;
constexpr size_t kStoredSamples = 256;
constexpr size_t kTuneItems = 128;
constexpr uint32_t kBatteryPoints = 64;
constexpr size_t kSensorRing = 256;
constexpr uint32_t kCacheSlots = 32'768;
constexpr uint32_t kFlashEraseBytes = 4096;
constexpr size_t kInputBytes = 12U << 10;        // 64 × 64 × 3
constexpr size_t kPsramInputBytes = 150U << 10;  // 224 × 224 × 3
constexpr size_t kPsramReplayBytes = 256U << 10;
// What stays of internal RAM: the sampling task's stack, and what the drivers allocate as they run.
constexpr size_t kLeaveBytes = 16U << 10;
constexpr size_t kSmallestRegion = 4096;
constexpr uint32_t kSamplerStackBytes = 3072;
constexpr UBaseType_t kSamplerPriority = 5;  // above the main task, which has 1
constexpr uint32_t kHzPerMhz = 1'000'000;

tbft::wire::PhaseRecord g_events[kEvents];
tbft::wire::DutyEvent g_duty_events[kDutyEvents];
tbft::duty::StoredSample g_stored_samples[kStoredSamples];
tbft::duty::TuneItem g_tune_items[kTuneItems];
tbft::BatteryPoint g_battery[kBatteryPoints];
tbft::wire::CurrentRecord g_readings[kSensorRing];
uint8_t g_cache_used[kCacheSlots / 8];
uint8_t g_cache_block[kFlashEraseBytes];
int8_t g_input[kInputBytes];

#ifdef TBFT_ESP_BOARD_ESP32
using Stream = tbft::EspUartStream;  // this chip has no USB port
#else
using Stream = std::conditional_t<kEspBoard.usb_serial, tbft::EspUsbStream, tbft::EspUartStream>;
[[maybe_unused]] bool open_stream(tbft::EspUsbStream* stream) { return stream->open(); }
#endif
[[maybe_unused]] bool open_stream(tbft::EspUartStream* stream) {
  return stream->open(kEspBoard.uart);
}

const char* start_reason() {
  switch (esp_reset_reason()) {
    case ESP_RST_POWERON:
      return "power on";
    case ESP_RST_EXT:
      return "reset button";
    case ESP_RST_SW:
      return "restart";
    case ESP_RST_PANIC:
      return "a fault of the program";
    case ESP_RST_INT_WDT:
    case ESP_RST_TASK_WDT:
    case ESP_RST_WDT:
      return "a watchdog";
    case ESP_RST_DEEPSLEEP:
      return "deep sleep is over";
    case ESP_RST_BROWNOUT:
      return "the supply broke down";
    default:
      return "unknown reason";
  }
}

uint32_t stack_used_bytes() {
  return CONFIG_ESP_MAIN_TASK_STACK_SIZE -
         static_cast<uint32_t>(uxTaskGetStackHighWaterMark(nullptr));
}

// Current sensors of all kinds at their usual addresses: which of them are there, SensorStart finds
// out.
struct Sensors {
  explicit Sensors(tbft::I2cBus& bus)
      : ina219(bus, kInaAddress, {kInaShuntUohm}),
        ina226(bus, kInaAddress, {kInaShuntUohm}),
        ina228(bus, kInaAddress, {kInaShuntUohm}),
        battery(bus, tbft::PowerFeatherSensor::Channel::kBattery),
        supply(bus, tbft::PowerFeatherSensor::Channel::kSupply) {}

  tbft::Ina219 ina219;
  tbft::Ina226 ina226;
  tbft::Ina228 ina228;
  tbft::PowerFeatherSensor battery;
  tbft::PowerFeatherSensor supply;
};

// Samples at its own pace while the network computes.
void sampler_task(void* argument) {
  auto* sampler = static_cast<tbft::wire::SensorSampler*>(argument);
  while (true) {
    sampler->poll();
    vTaskDelay(1);
  }
}

void switch_bus_supply_on() {
  if (kEspBoard.bus_supply_pin == tbft::kNotConnected) {
    return;
  }
  tbft::EspTriggerPin supply;
  if (supply.open(&kEspBoard.bus_supply_pin, 1)) {
    supply.set(1);
  }
}

// Memory regions of the arena, fastest first: the pieces of internal RAM, then PSRAM.
size_t take_regions(tbft::Span<uint8_t> regions[tbft::kMaxRegions]) {
  size_t count = 0;
  while (count + 1 < tbft::kMaxRegions) {
    const tbft::EspBlock block = tbft::esp_take_internal(SIZE_MAX, kLeaveBytes);
    if (block.size < kSmallestRegion) {
      break;
    }
    regions[count++] = {block.data, block.size};
  }
  const tbft::EspBlock psram = tbft::esp_take_psram(SIZE_MAX);
  if (psram.size >= kSmallestRegion) {
    regions[count++] = {psram.data, psram.size};
  }
  return count;
}

}  // namespace

extern "C" void app_main() {
  using tbft::EspPartitionFlash;
  // Static: the stack is small, and all this lives as long as the program.
  static tbft::EspClock clock;
  static tbft::EspSleep sleep;
  static Stream stream;
  static tbft::EspTriggerPin pins;
  if (!open_stream(&stream)) {
    return;  // nobody to tell
  }
  const bool have_pins = pins.open(kEspBoard.trigger_pins, tbft::kEspTriggerPins);

  static EspPartitionFlash artifact_flash;
  static EspPartitionFlash weights_flash;
  static EspPartitionFlash schedule_flash;
  static EspPartitionFlash samples_flash;
  static EspPartitionFlash cache_flash;
  const bool have_table = artifact_flash.open(EspPartitionFlash::kArtifact) &
                          weights_flash.open(EspPartitionFlash::kWeights) &
                          schedule_flash.open(EspPartitionFlash::kSchedule) &
                          samples_flash.open(EspPartitionFlash::kSamples) &
                          cache_flash.open(EspPartitionFlash::kCache);
  static tbft::wire::FlashArtifactStore store(artifact_flash, artifact_flash.map());
  static tbft::FlashSampleCache cache(cache_flash, g_cache_used, sizeof g_cache_used, g_cache_block,
                                      sizeof g_cache_block);

  static tbft::EspI2cBus bus;
  switch_bus_supply_on();
  tbft::EspI2cBus::Config bus_config;
  bus_config.sda_pin = kEspBoard.sda_pin;
  bus_config.scl_pin = kEspBoard.scl_pin;
  const bool have_bus = bus.open(bus_config);
  static Sensors sensors(bus);
  static tbft::CurrentSensor* const kSensorList[] = {
      &sensors.ina219, &sensors.ina226, &sensors.ina228, &sensors.battery, &sensors.supply};
  constexpr size_t kIna = 3;
  constexpr size_t kAll = 5;
  static tbft::wire::SensorSampler sampler(
      clock, {kSensorList, !have_bus ? 0 : (kEspBoard.power_feather ? kAll : kIna)},
      {g_readings, kSensorRing}, true);
  static tbft::PowerFeatherBattery gauge(bus);

  // Memory last: what is free now is what there is.
  const tbft::EspBlock psram_input = tbft::esp_take_psram(kPsramInputBytes);
  const tbft::EspBlock replay_memory = tbft::esp_take_psram(kPsramReplayBytes);
  const tbft::Span<int8_t> input =
      psram_input.size > kInputBytes
          ? tbft::Span<int8_t>(reinterpret_cast<int8_t*>(psram_input.data), psram_input.size)
          : tbft::Span<int8_t>(g_input, kInputBytes);
  (void)xTaskCreatePinnedToCore(sampler_task, "sensors", kSamplerStackBytes, &sampler,
                                kSamplerPriority, nullptr, tskNO_AFFINITY);
  static tbft::Span<uint8_t> regions[tbft::kMaxRegions];
  const size_t region_count = take_regions(regions);

  tbft::wire::BoardInfo info;
  info.board = kEspBoard.name;
  info.firmware = TBFT_VERSION;
  info.clock_hz = CONFIG_ESP_DEFAULT_CPU_FREQ_MHZ * kHzPerMhz;
  info.stack_bytes = CONFIG_ESP_MAIN_TASK_STACK_SIZE;
  info.stack_used_bytes = stack_used_bytes;
  static tbft::BoardApp app(tbft::BoardParts{info,
                                             clock,
                                             stream,
                                             have_pins ? &pins : nullptr,
                                             weights_flash,
                                             cache,
                                             store,
                                             {regions, region_count},
                                             input,
                                             {g_events, kEvents}});
  app.dispatcher.set_sensors(&sampler);

  static tbft::Replay replay(replay_memory.data, replay_memory.size, g_battery, kBatteryPoints);
  tbft::SampleSource* sensor = board_sample_source();
  tbft::Battery* battery = &replay;
  if (kEspBoard.power_feather && have_bus) {
    battery = &gauge;
  }
  static tbft::DutyApp duty({sleep,
                             sensor != nullptr ? *sensor : replay,
                             battery,
                             sensor != nullptr ? nullptr : &replay,
                             schedule_flash,
                             samples_flash,
                             input,
                             {g_stored_samples, kStoredSamples},
                             {g_tune_items, kTuneItems},
                             {g_duty_events, kDutyEvents}},
                            app.engine, app.checkpoint, app.events, app.dispatcher);

  app.start(start_reason(), store.stored());
  if (!have_table) {
    app.dispatcher.log(tbft::wire::LogLevel::kError,
                       "a partition is missing: write the partition table of this firmware "
                       "(pio run -t upload)");
  }
  if (esp_reset_reason() != ESP_RST_DEEPSLEEP) {
    // Power or the reset button: time for a host to find the port of a board that sleeps otherwise.
    duty.scheduler.stay_awake(kReachableMs);
  }
  duty.boot();
  while (app.dispatcher.poll(tbft::ByteStream::kForever)) {
  }
}
