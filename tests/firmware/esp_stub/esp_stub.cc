#include "esp_stub.h"

#include <sys/time.h>

#include <cstdlib>
#include <cstring>

#include "driver/gpio.h"
#include "driver/usb_serial_jtag.h"
#include "esp_heap_caps.h"
#include "esp_rom_sys.h"
#include "esp_sleep.h"
#include "esp_system.h"
#include "esp_timer.h"
#include "freertos/semphr.h"
#include "freertos/task.h"

namespace esp_stub {
namespace {

constexpr size_t kFifoBytes = 128;
constexpr uint32_t kEraseBytes = 4096;
constexpr size_t kMmuPage = 64U << 10;

State g_state;
// What handles point to: a bus, and a device per address.
char g_bus;
char g_devices[128];

}  // namespace

State& state() { return g_state; }
void reset() { g_state = State(); }

void add_partition(const char* label, uint32_t size, bool encrypted) {
  Partition& p = g_state.partitions[label];
  p.bytes.assign(size + kMmuPage, 0xff);
  const auto address = reinterpret_cast<uintptr_t>(p.bytes.data());
  p.start = p.bytes.data() + (kMmuPage - address % kMmuPage) % kMmuPage;
  p.table.type = ESP_PARTITION_TYPE_DATA;
  p.table.subtype = ESP_PARTITION_SUBTYPE_DATA_UNDEFINED;
  p.table.size = size;
  p.table.erase_size = kEraseBytes;
  p.table.encrypted = encrypted;
  strncpy(p.table.label, label, sizeof p.table.label - 1);
}

void Uart::arrive(const std::vector<uint8_t>& bytes) {
  for (const uint8_t byte : bytes) {
    if (fifo.size() == kFifoBytes) {
      ++lost;
      continue;
    }
    fifo.push_back(byte);
    const auto full = static_cast<size_t>(threshold);
    if (!isr_runs || fifo.size() < full) {
      continue;
    }
    ring.insert(ring.end(), fifo.begin(), fifo.end());
    fifo.clear();
  }
  if (isr_runs) {  // the pause after the last byte
    ring.insert(ring.end(), fifo.begin(), fifo.end());
    fifo.clear();
  }
  const auto room = static_cast<size_t>(ring_bytes);
  if (ring.size() > room) {
    lost += ring.size() - room;
    ring.resize(room);
  }
}

size_t Usb::arrive(const std::vector<uint8_t>& bytes) {
  const size_t room = ring_bytes - ring.size();
  const size_t count = bytes.size() < room ? bytes.size() : room;
  ring.insert(ring.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(count));
  return count;
}

namespace {

size_t take(std::vector<uint8_t>* from, void* out, size_t limit) {
  const size_t count = from->size() < limit ? from->size() : limit;
  if (count != 0) memcpy(out, from->data(), count);
  from->erase(from->begin(), from->begin() + static_cast<ptrdiff_t>(count));
  return count;
}

Partition* find(const esp_partition_t* table) {
  for (auto& item : g_state.partitions) {
    if (&item.second.table == table) return &item.second;
  }
  return nullptr;
}

bool flash_fails() {
  const int number = g_state.flash_operations++;
  return g_state.flash_fail_at >= 0 && number >= g_state.flash_fail_at;
}

bool sda_held() { return g_state.hold_clocks != 0; }

esp_err_t transfer(i2c_master_dev_handle_t device, const std::vector<uint8_t>& out,
                   std::vector<uint8_t>* in) {
  if (sda_held()) return ESP_ERR_TIMEOUT;
  const auto address = static_cast<uint8_t>(reinterpret_cast<char*>(device) - g_devices);
  const auto found = g_state.i2c.find(address);
  if (found == g_state.i2c.end() || !found->second.transfer(out, in)) return ESP_ERR_INVALID_STATE;
  return ESP_OK;
}

std::vector<size_t>& blocks(uint32_t caps) {
  return (caps & MALLOC_CAP_SPIRAM) != 0 ? g_state.psram_blocks : g_state.internal_blocks;
}

}  // namespace
}  // namespace esp_stub

using esp_stub::state;

extern "C" {

int64_t esp_timer_get_time(void) { return state().now_us; }
void esp_rom_delay_us(uint32_t us) { state().now_us += us; }

// ---- FreeRTOS: time passes by waiting; tasks are the tests' business

SemaphoreHandle_t xSemaphoreCreateMutexStatic(StaticSemaphore_t* memory) {
  memory->taken = 0;
  return memory;
}
// One task here: a mutex that is taken already would wait for ever on the chip.
BaseType_t xSemaphoreTake(SemaphoreHandle_t mutex, TickType_t) {
  if (mutex->taken != 0) abort();
  mutex->taken = 1;
  return 1;
}
BaseType_t xSemaphoreGive(SemaphoreHandle_t mutex) {
  if (mutex->taken == 0) abort();
  mutex->taken = 0;
  return 1;
}
void vTaskDelay(TickType_t ticks) { state().now_us += int64_t{ticks} * 1000; }
BaseType_t xTaskCreatePinnedToCore(TaskFunction_t, const char*, uint32_t, void*, UBaseType_t,
                                   TaskHandle_t*, BaseType_t) {
  ++state().tasks;
  return pdPASS;
}
UBaseType_t uxTaskGetStackHighWaterMark(TaskHandle_t) { return 4000; }
esp_reset_reason_t esp_reset_reason(void) { return state().reset_reason; }

// ---- UART

esp_err_t uart_driver_install(uart_port_t port, int rx, int tx, int, QueueHandle_t*, int flags) {
  if (port < 0 || port >= 3 || rx <= 128 || (tx != 0 && tx <= 128)) return ESP_FAIL;
  esp_stub::Uart& uart = state().uart[port];
  if (uart.installed) return ESP_FAIL;
  uart.installed = true;
  uart.ring_bytes = rx;
  uart.send_ring_bytes = tx;
  uart.interrupt_flags = flags;
  return ESP_OK;
}
esp_err_t uart_param_config(uart_port_t port, const uart_config_t* config) {
  state().uart[port].config = *config;
  return ESP_OK;
}
esp_err_t uart_set_pin(uart_port_t port, int tx, int rx, int rts, int cts) {
  const int pins[4] = {tx, rx, rts, cts};
  memcpy(state().uart[port].pins, pins, sizeof pins);
  return ESP_OK;
}
esp_err_t uart_set_rx_full_threshold(uart_port_t port, int threshold) {
  if (threshold <= 0 || threshold >= 128) return ESP_ERR_INVALID_ARG;
  state().uart[port].threshold = threshold;
  return ESP_OK;
}
int uart_read_bytes(uart_port_t port, void* buffer, uint32_t length, TickType_t ticks) {
  esp_stub::Uart& uart = state().uart[port];
  if (!uart.installed || uart.broken) return -1;
  if (uart.ring.size() < length && ticks == portMAX_DELAY) return -1;  // nothing will ever come
  if (uart.ring.size() < length) state().now_us += int64_t{ticks} * 1000;
  return static_cast<int>(esp_stub::take(&uart.ring, buffer, length));
}
esp_err_t uart_get_buffered_data_len(uart_port_t port, size_t* size) {
  *size = state().uart[port].ring.size();
  return ESP_OK;
}
int uart_write_bytes(uart_port_t port, const void* data, size_t size) {
  esp_stub::Uart& uart = state().uart[port];
  if (!uart.installed || uart.broken) return -1;
  const auto* bytes = static_cast<const uint8_t*>(data);
  uart.sent.insert(uart.sent.end(), bytes, bytes + size);
  return static_cast<int>(size);
}
esp_err_t uart_wait_tx_done(uart_port_t, TickType_t) { return ESP_OK; }

// ---- USB Serial/JTAG

esp_err_t usb_serial_jtag_driver_install(usb_serial_jtag_driver_config_t* config) {
  esp_stub::Usb& usb = state().usb;
  if (usb.installed || config->rx_buffer_size == 0 || config->tx_buffer_size == 0) return ESP_FAIL;
  usb.installed = true;
  usb.ring_bytes = config->rx_buffer_size;
  usb.send_ring_bytes = config->tx_buffer_size;
  return ESP_OK;
}
int usb_serial_jtag_read_bytes(void* buffer, uint32_t length, uint32_t ticks) {
  esp_stub::Usb& usb = state().usb;
  if (usb.ring.empty() && ticks == portMAX_DELAY) return -1;
  if (usb.ring.empty()) state().now_us += int64_t{ticks} * 1000;
  return static_cast<int>(esp_stub::take(&usb.ring, buffer, length));
}
int usb_serial_jtag_write_bytes(const void* data, size_t size, uint32_t ticks) {
  esp_stub::Usb& usb = state().usb;
  if (!usb.host_listens || size > usb.send_ring_bytes) {
    state().now_us += int64_t{ticks} * 1000;
    return 0;  // the driver's ring takes a piece whole or not at all
  }
  const auto* bytes = static_cast<const uint8_t*>(data);
  usb.sent.insert(usb.sent.end(), bytes, bytes + size);
  return static_cast<int>(size);
}

// ---- partitions

const esp_partition_t* esp_partition_find_first(esp_partition_type_t type, esp_partition_subtype_t,
                                                const char* label) {
  const auto found = state().partitions.find(label);
  if (found == state().partitions.end() || found->second.table.type != type) return nullptr;
  return &found->second.table;
}
esp_err_t esp_partition_read(const esp_partition_t* table, size_t offset, void* out, size_t size) {
  esp_stub::Partition* p = esp_stub::find(table);
  if (p == nullptr || offset > p->table.size) return ESP_ERR_INVALID_ARG;
  if (size > p->table.size - offset) return ESP_ERR_INVALID_SIZE;
  memcpy(out, p->start + offset, size);
  return ESP_OK;
}
esp_err_t esp_partition_write(const esp_partition_t* table, size_t offset, const void* data,
                              size_t size) {
  esp_stub::Partition* p = esp_stub::find(table);
  if (p == nullptr || offset > p->table.size) return ESP_ERR_INVALID_ARG;
  if (size > p->table.size - offset) return ESP_ERR_INVALID_SIZE;
  if (p->table.encrypted && (offset % 16 != 0 || size % 16 != 0)) return ESP_ERR_INVALID_SIZE;
  if (esp_stub::flash_fails()) return ESP_FAIL;
  const auto* bytes = static_cast<const uint8_t*>(data);
  for (size_t i = 0; i < size; ++i) p->start[offset + i] &= bytes[i];
  return ESP_OK;
}
esp_err_t esp_partition_erase_range(const esp_partition_t* table, size_t offset, size_t size) {
  esp_stub::Partition* p = esp_stub::find(table);
  if (p == nullptr || offset > p->table.size) return ESP_ERR_INVALID_ARG;
  if (size > p->table.size - offset) return ESP_ERR_INVALID_SIZE;
  const uint32_t unit = p->table.erase_size;
  if (offset % unit != 0) return ESP_ERR_INVALID_ARG;
  if (size % unit != 0) return ESP_ERR_INVALID_SIZE;
  if (esp_stub::flash_fails()) return ESP_FAIL;
  memset(p->start + offset, 0xff, size);
  return ESP_OK;
}
esp_err_t esp_partition_mmap(const esp_partition_t* table, size_t offset, size_t size,
                             esp_partition_mmap_memory_t, const void** out,
                             esp_partition_mmap_handle_t* handle) {
  esp_stub::Partition* p = esp_stub::find(table);
  if (p == nullptr || offset > p->table.size) return ESP_ERR_INVALID_ARG;
  if (size > p->table.size - offset) return ESP_ERR_INVALID_SIZE;
  if (!p->can_map) return ESP_ERR_NO_MEM;
  *out = p->start + offset;
  *handle = 1;
  return ESP_OK;
}

// ---- GPIO

esp_err_t gpio_config(const gpio_config_t* config) {
  if (config->pin_bit_mask == 0 || config->pin_bit_mask >> 49 != 0) return ESP_ERR_INVALID_ARG;
  for (int pin = 0; pin < 49; ++pin) {
    if ((config->pin_bit_mask >> pin & 1) == 0) continue;
    esp_stub::Line& line = state().lines[pin];
    line.configured = true;
    line.open_drain = config->mode == GPIO_MODE_INPUT_OUTPUT_OD;
    line.pull_up = config->pull_up_en == GPIO_PULLUP_ENABLE;
  }
  return ESP_OK;
}
esp_err_t gpio_set_level(gpio_num_t pin, uint32_t level) {
  esp_stub::State& s = state();
  esp_stub::Line& line = s.lines[pin];
  const bool rises = line.driven == 0 && level != 0;
  line.driven = level;
  if (pin == s.scl && rises) {
    ++s.clocks;
    if (s.hold_clocks > 0) --s.hold_clocks;
  }
  if (pin == s.sda && rises && s.lines[s.scl].driven != 0) s.stop_seen = true;
  return ESP_OK;
}
int gpio_get_level(gpio_num_t pin) {
  if (pin == state().sda && esp_stub::sda_held()) return 0;
  return state().lines[pin].driven != 0 ? 1 : 0;
}

// ---- I2C

esp_err_t i2c_new_master_bus(const i2c_master_bus_config_t* config, i2c_master_bus_handle_t* out) {
  esp_stub::State& s = state();
  if (s.buses != 0) return ESP_ERR_NOT_FOUND;
  ++s.buses;
  ++s.bus_starts;
  s.sda = config->sda_io_num;
  s.scl = config->scl_io_num;
  s.pull_ups = config->flags.enable_internal_pullup != 0;
  *out = reinterpret_cast<i2c_master_bus_handle_t>(&esp_stub::g_bus);
  return ESP_OK;
}
esp_err_t i2c_del_master_bus(i2c_master_bus_handle_t) {
  if (state().bus_devices != 0) return ESP_ERR_INVALID_STATE;
  --state().buses;
  return ESP_OK;
}
esp_err_t i2c_master_bus_add_device(i2c_master_bus_handle_t, const i2c_device_config_t* config,
                                    i2c_master_dev_handle_t* out) {
  ++state().bus_devices;
  state().clock_hz = config->scl_speed_hz;
  *out = reinterpret_cast<i2c_master_dev_handle_t>(&esp_stub::g_devices[config->device_address]);
  return ESP_OK;
}
esp_err_t i2c_master_bus_rm_device(i2c_master_dev_handle_t) {
  --state().bus_devices;
  return ESP_OK;
}
esp_err_t i2c_master_transmit(i2c_master_dev_handle_t device, const uint8_t* data, size_t size,
                              int) {
  if (size == 0) return ESP_ERR_INVALID_ARG;
  std::vector<uint8_t> nothing;
  return esp_stub::transfer(device, {data, data + size}, &nothing);
}
esp_err_t i2c_master_transmit_receive(i2c_master_dev_handle_t device, const uint8_t* data,
                                      size_t size, uint8_t* in, size_t in_size, int) {
  if (size == 0 || in_size == 0) return ESP_ERR_INVALID_ARG;
  std::vector<uint8_t> read(in_size);
  const esp_err_t error = esp_stub::transfer(device, {data, data + size}, &read);
  if (error == ESP_OK) memcpy(in, read.data(), in_size);
  return error;
}

// ---- heap

size_t heap_caps_get_free_size(uint32_t caps) {
  size_t sum = 0;
  for (const size_t block : esp_stub::blocks(caps)) sum += block;
  return sum;
}
size_t heap_caps_get_largest_free_block(uint32_t caps) {
  size_t largest = 0;
  for (const size_t block : esp_stub::blocks(caps)) largest = block > largest ? block : largest;
  return largest;
}
void* heap_caps_aligned_alloc(size_t alignment, size_t size, uint32_t caps) {
  for (size_t& block : esp_stub::blocks(caps)) {
    if (block < size + alignment || block != heap_caps_get_largest_free_block(caps)) continue;
    block -= size + alignment;
    state().taken.emplace_back(size + alignment);
    uint8_t* data = state().taken.back().data();
    const auto address = reinterpret_cast<uintptr_t>(data);
    return data + (alignment - address % alignment) % alignment;
  }
  return nullptr;
}

// ---- sleep

esp_err_t esp_sleep_enable_timer_wakeup(uint64_t us) {
  if (state().wakeup_refused) return ESP_ERR_INVALID_ARG;
  state().wakeup_us = us;
  return ESP_OK;
}
esp_err_t esp_deep_sleep_try_to_start(void) {
  state().slept = true;  // a chip would not come back from here
  return ESP_OK;
}

}  // extern "C"
