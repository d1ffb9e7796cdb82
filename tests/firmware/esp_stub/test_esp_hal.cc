// Every HAL of firmware/lib/hal_esp against the stand-ins for the vendor's functions.
#include <cstring>
#include <vector>

#include "check.h"
#include "esp_intr_alloc.h"
#include "esp_stub.h"
#include "hal_esp/esp_clock.h"
#include "hal_esp/esp_i2c_bus.h"
#include "hal_esp/esp_memory.h"
#include "hal_esp/esp_partition_flash.h"
#include "hal_esp/esp_serial.h"
#include "hal_esp/esp_sleep.h"
#include "hal_esp/esp_trigger_pin.h"
#include "hal_esp/esp_uart_stream.h"
#include "hal_esp/esp_usb_stream.h"
#include "wire/frame.h"

namespace {

using esp_stub::state;

std::vector<uint8_t> counting(size_t size) {
  std::vector<uint8_t> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i * 7 + i / 256);
  return bytes;
}

std::vector<uint8_t> read_all(tbft::ByteStream* stream, size_t piece) {
  std::vector<uint8_t> all;
  std::vector<uint8_t> buffer(piece);
  while (true) {
    const int32_t n = stream->read(buffer.data(), piece, 0);
    CHECK(n >= 0 && n <= static_cast<int32_t>(piece));
    if (n <= 0) return all;
    all.insert(all.end(), buffer.begin(), buffer.begin() + n);
  }
}

void test_clock() {
  esp_stub::reset();
  tbft::EspClock clock;
  state().now_us = int64_t{1} << 40;
  CHECK(clock.now_us() == uint64_t{1} << 40);
}

void test_uart() {
  esp_stub::reset();
  tbft::EspUartStream stream;
  tbft::EspUartStream::Config config;
  config.port = 1;
  config.tx_pin = 17;
  config.rx_pin = 16;
  CHECK(stream.open(config));
  esp_stub::Uart& uart = state().uart[1];
  CHECK(uart.config.baud_rate == 921'600);
  CHECK(uart.config.flow_ctrl == UART_HW_FLOWCTRL_DISABLE);
  CHECK((uart.interrupt_flags & ESP_INTR_FLAG_IRAM) != 0);
  CHECK(uart.pins[0] == 17 && uart.pins[1] == 16 && uart.pins[2] == -1 && uart.pins[3] == -1);
  CHECK(!stream.open(config));  // the driver is there already

  // All that the protocol can send while nobody reads is still there, in order.
  const std::vector<uint8_t> burst = counting(7 * (tbft::wire::kMaxEncoded + 1) + 10);
  CHECK(burst.size() <= tbft::kEspReceiveRingBytes);
  uart.arrive(burst);
  CHECK(uart.lost == 0);
  CHECK(read_all(&stream, 256) == burst);

  // The interrupt that comes late by eight bytes loses nothing, and one later does: the FIFO model
  // is not a rubber stamp.
  uart.isr_runs = false;
  uart.arrive(counting(128));
  CHECK(uart.lost == 0);
  uart.arrive(counting(1));
  CHECK(uart.lost == 1);
  uart.isr_runs = true;
  uart.arrive({});
  CHECK(read_all(&stream, 1).size() == 128);

  // Waits for the first byte only as long as it is told to.
  const int64_t before = state().now_us;
  uint8_t byte = 0;
  CHECK(stream.read(&byte, 1, 250) == 0);
  CHECK(state().now_us - before == 250'000);

  const std::vector<uint8_t> answer = counting(1038);
  CHECK(stream.write(answer.data(), answer.size()));
  CHECK(uart.sent == answer);
  uart.broken = true;
  CHECK(!stream.write(answer.data(), 1));
  CHECK(stream.read(&byte, 1, 0) == tbft::ByteStream::kClosed);
}

void test_uart_flow_control() {
  esp_stub::reset();
  tbft::EspUartStream stream;
  tbft::EspUartStream::Config config;
  config.rts_pin = 22;
  config.cts_pin = 19;
  CHECK(stream.open(config));
  CHECK(state().uart[0].config.flow_ctrl == UART_HW_FLOWCTRL_CTS_RTS);
  // The host is stopped while the FIFO still has room for what is on the wire.
  CHECK(state().uart[0].config.rx_flow_ctrl_thresh < 128 - 16);
  CHECK(state().uart[0].threshold < 128);
  config.port = 9;
  tbft::EspUartStream other;
  CHECK(!other.open(config));
}

void test_usb() {
  esp_stub::reset();
  tbft::EspUsbStream stream;
  CHECK(stream.open());
  CHECK(!stream.open());
  const std::vector<uint8_t> burst = counting(tbft::kEspReceiveRingBytes + 500);
  const size_t taken = state().usb.arrive(burst);
  CHECK(taken == tbft::kEspReceiveRingBytes);  // the rest is not acknowledged: nothing is lost
  std::vector<uint8_t> got = read_all(&stream, 256);
  CHECK(state().usb.arrive({burst.begin() + static_cast<ptrdiff_t>(taken), burst.end()}) == 500);
  const std::vector<uint8_t> rest = read_all(&stream, 256);
  got.insert(got.end(), rest.begin(), rest.end());
  CHECK(got == burst);

  const std::vector<uint8_t> answer = counting(3 * tbft::kEspSendRingBytes);
  CHECK(stream.write(answer.data(), answer.size()));
  CHECK(state().usb.sent == answer);
  state().usb.host_listens = false;
  const int64_t before = state().now_us;
  CHECK(!stream.write(answer.data(), 1));
  CHECK(state().now_us - before == int64_t{tbft::kEspWriteTimeoutMs} * 1000);
}

void test_partition() {
  esp_stub::reset();
  esp_stub::add_partition(tbft::EspPartitionFlash::kWeights, 64U << 10);
  tbft::EspPartitionFlash flash;
  uint8_t byte = 0;
  CHECK(flash.size_bytes() == 0 && !flash.read(0, &byte, 1) && flash.map() == nullptr);
  CHECK(!flash.open("another"));
  CHECK(flash.open(tbft::EspPartitionFlash::kWeights));
  CHECK(flash.size_bytes() == 64U << 10 && flash.erase_bytes() == 4096);
  CHECK(flash.program_bytes() == 4);
  const std::vector<uint8_t> data = counting(256);
  CHECK(flash.program(4096, data.data(), 256));
  std::vector<uint8_t> back(256);
  CHECK(flash.read(4096, back.data(), 256) && back == data);
  CHECK(flash.erase(4096, 4096));
  CHECK(flash.read(4096, back.data(), 256) && back[0] == 0xff && back[255] == 0xff);
  CHECK(!flash.erase(1, 4096) && !flash.erase(0, 1) && !flash.erase(64U << 10, 4096));
  CHECK(!flash.program(64U << 10, data.data(), 4));
  CHECK(!flash.read((64U << 10) - 1, back.data(), 2));

  const uint8_t* mapped = flash.map();
  CHECK(mapped != nullptr && reinterpret_cast<uintptr_t>(mapped) % 16 == 0);
  CHECK(flash.program(0, data.data(), 256) && memcmp(mapped, data.data(), 256) == 0);
  state().partitions[tbft::EspPartitionFlash::kWeights].can_map = false;
  CHECK(flash.map() == nullptr);
  state().flash_fail_at = state().flash_operations;
  CHECK(!flash.program(512, data.data(), 4) && !flash.erase(0, 4096));

  esp_stub::add_partition("secret", 8192, true);
  CHECK(flash.open("secret") && flash.program_bytes() == 16);
}

void test_trigger() {
  esp_stub::reset();
  tbft::EspTriggerPin pins;
  pins.set(3);  // not open: nobody minds
  const int numbers[] = {15, 16, 37, 6};
  CHECK(pins.open(numbers, 4));
  CHECK(state().lines[15].configured && state().lines[15].driven == 0);
  pins.set(0b0101);
  CHECK(state().lines[15].driven == 1 && state().lines[16].driven == 0);
  CHECK(state().lines[37].driven == 1 && state().lines[6].driven == 0);
  pins.set(0b1'0010);  // the bit beyond the pins is lost
  CHECK(state().lines[15].driven == 0 && state().lines[16].driven == 1);
  const int five[] = {1, 2, 3, 4, 5};
  CHECK(!pins.open(five, 5));
  const int none[] = {63};
  tbft::EspTriggerPin bad;
  CHECK(!bad.open(none, 1));
  tbft::EspTriggerPin without;
  CHECK(without.open(nullptr, 0));
}

void test_sleep() {
  esp_stub::reset();
  tbft::EspSleep sleep;
  const uint64_t now = sleep.now_us();
  CHECK(now > 0 && sleep.until(now - 1) && !state().slept);
  CHECK(!sleep.until(now + 3'600'000'000) && state().slept);
  CHECK(state().wakeup_us > 3'590'000'000 && state().wakeup_us <= 3'600'000'000);
  esp_stub::reset();
  state().wakeup_refused = true;
  CHECK(!sleep.until(sleep.now_us() + 1'000'000) && !state().slept);
}

void test_i2c() {
  esp_stub::reset();
  tbft::EspI2cBus bus;
  tbft::EspI2cBus::Config config;
  config.sda_pin = 47;
  config.scl_pin = 48;
  CHECK(bus.open(config));
  CHECK(!state().pull_ups);
  std::vector<uint8_t> seen;
  state().i2c[0x40].transfer = [&seen](const std::vector<uint8_t>& out, std::vector<uint8_t>* in) {
    seen = out;
    for (size_t i = 0; i < in->size(); ++i) (*in)[i] = static_cast<uint8_t>(0xa0 + i);
    return true;
  };
  const uint8_t out[] = {5, 6};
  uint8_t in[3] = {};
  CHECK(bus.write(0x40, out, 2) == tbft::I2cResult::kOk && seen == std::vector<uint8_t>({5, 6}));
  CHECK(bus.write_read(0x40, out, 1, in, 3) == tbft::I2cResult::kOk);
  CHECK(seen == std::vector<uint8_t>({5}) && in[0] == 0xa0 && in[2] == 0xa2);
  CHECK(state().clock_hz == 400'000);
  CHECK(bus.write(0x41, out, 2) == tbft::I2cResult::kNoAnswer);
  CHECK(bus.write(0x40, out, 2) == tbft::I2cResult::kOk);
  CHECK(state().bus_devices == 1);
  CHECK(bus.write(0x40, out, 0) == tbft::I2cResult::kFailed);

  // A device that holds SDA for the rest of its byte is freed by the nine clocks.
  state().hold_clocks = 8;
  CHECK(bus.write(0x40, out, 2) == tbft::I2cResult::kStuck);
  CHECK(bus.recover() == tbft::I2cResult::kOk);
  CHECK(state().clocks >= 9 && state().stop_seen && state().lines[47].open_drain);
  CHECK(state().bus_starts == 2 && state().buses == 1);
  CHECK(bus.write_read(0x40, out, 1, in, 3) == tbft::I2cResult::kOk);

  // A line that is shorted is not.
  state().hold_clocks = -1;
  CHECK(bus.recover() == tbft::I2cResult::kStuck);
  CHECK(bus.write(0x40, out, 2) == tbft::I2cResult::kStuck);
  state().hold_clocks = 0;
  CHECK(bus.write(0x40, out, 2) == tbft::I2cResult::kOk);
}

void test_memory() {
  esp_stub::reset();
  state().internal_blocks = {30'000, 110'000, 60'000};
  state().psram_blocks = {2U << 20};
  tbft::EspBlock block = tbft::esp_take_internal(1U << 20, 48'000);
  CHECK(block.size > 109'000 && block.size <= 110'000 && block.size % 16 == 0);
  CHECK(reinterpret_cast<uintptr_t>(block.data) % 16 == 0);
  block = tbft::esp_take_internal(1U << 20, 48'000);  // the next piece, less what must stay
  CHECK(block.size > 40'000 && block.size <= 42'000);
  block = tbft::esp_take_internal(1U << 20, 48'000);
  CHECK(block.data == nullptr && block.size == 0);
  block = tbft::esp_take_psram(1U << 20);
  CHECK(block.size <= 1U << 20 && block.size > (1U << 20) - 64);
  state().psram_blocks.clear();
  CHECK(tbft::esp_take_psram(1U << 20).data == nullptr);
}

}  // namespace

int main() {
  test_clock();
  test_uart();
  test_uart_flow_control();
  test_usb();
  test_partition();
  test_trigger();
  test_sleep();
  test_i2c();
  test_memory();
  return verdict();
}
