// Behaviour of the stand-ins for ESP-IDF, as far as the HALs depend on it, and what tests may see
// and turn. Everything starts over with reset().
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "driver/i2c_master.h"
#include "driver/uart.h"
#include "esp_partition.h"
#include "esp_system.h"

namespace esp_stub {

// A UART: `arrive` is the wire, the FIFO holds 128 bytes, and the driver's interrupt moves it to
// the ring whenever `isr_runs`; what finds no room is lost and counted.
struct Uart {
  bool installed = false;
  int ring_bytes = 0;
  int send_ring_bytes = 0;
  int interrupt_flags = 0;
  int threshold = 0;
  uart_config_t config = {};  // NOLINT(bugprone-invalid-enum-default-initialization)
  int pins[4] = {0, 0, 0, 0};
  std::vector<uint8_t> fifo;
  std::vector<uint8_t> ring;
  std::vector<uint8_t> sent;
  bool isr_runs = true;
  size_t lost = 0;
  bool broken = false;  // reads and writes fail

  void arrive(const std::vector<uint8_t>& bytes);
};

// USB: the host waits (is not acknowledged) while the ring is full.
struct Usb {
  bool installed = false;
  size_t ring_bytes = 0;
  size_t send_ring_bytes = 0;
  std::vector<uint8_t> ring;
  std::vector<uint8_t> sent;
  bool host_listens = true;

  size_t arrive(const std::vector<uint8_t>& bytes);  // bytes taken
};

// NOR flash: writing only clears bits. Operations from number `fail_at` on fail.
struct Partition {
  esp_partition_t table = {};  // NOLINT(bugprone-invalid-enum-default-initialization)
  std::vector<uint8_t> bytes;  // with room to align
  uint8_t* start = nullptr;
  bool can_map = true;
};

// A wire with a pull-up: low when anybody pulls.
struct Line {
  bool configured = false;
  bool open_drain = false;
  bool pull_up = false;
  uint32_t driven = 1;
};

// A device on the I2C bus; `transfer` gets what was written, fills what is read, and says whether
// it acknowledged. While `hold_clocks` is not 0 it holds SDA low and counts clocks.
struct I2cDevice {
  std::function<bool(const std::vector<uint8_t>& written, std::vector<uint8_t>* read)> transfer;
};

struct State {
  int64_t now_us = 0;
  uint64_t rtc_us = 0;
  Uart uart[3];
  Usb usb;
  std::map<std::string, Partition> partitions;
  int flash_operations = 0;
  int flash_fail_at = -1;
  std::map<int, Line> lines;
  // I2C
  int sda = -1;
  int scl = -1;
  int hold_clocks = 0;  // SDA is held until so many clocks came; < 0: for ever
  int clocks = 0;
  bool stop_seen = false;
  int buses = 0;
  int bus_starts = 0;
  int bus_devices = 0;
  bool pull_ups = false;
  uint32_t clock_hz = 0;
  std::map<uint8_t, I2cDevice> i2c;
  // heap: free blocks by kind
  std::vector<size_t> internal_blocks;
  std::vector<size_t> psram_blocks;
  std::vector<std::vector<uint8_t>> taken;
  int tasks = 0;
  esp_reset_reason_t reset_reason = ESP_RST_POWERON;
  // sleep
  uint64_t wakeup_us = 0;
  bool slept = false;
  bool wakeup_refused = false;
};

State& state();
void reset();
void add_partition(const char* label, uint32_t size, bool encrypted = false);

}  // namespace esp_stub
