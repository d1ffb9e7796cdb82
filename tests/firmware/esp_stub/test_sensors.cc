// The current sensors' drivers against register maps of their data sheets: units, signs, ends of
// the range, fresh readings, wrong devices, and a bus that is stuck.
#include <cstring>

#include "check.h"
#include "fake_bus.h"
#include "sensors/ina219.h"
#include "sensors/ina226.h"
#include "sensors/ina228.h"
#include "sensors/powerfeather.h"

namespace {

using tbft::CurrentReading;
using tbft::SensorStatus;

constexpr uint8_t kAddress = 0x40;

void test_arithmetic() {
  CHECK(tbft::sign_extended(0x8000, 16) == -32768 && tbft::sign_extended(0x7fff, 16) == 32767);
  CHECK(tbft::sign_extended(0xfffff, 20) == -1 && tbft::sign_extended(0x80000000, 32) == INT32_MIN);
  CHECK(tbft::rounded_quotient(7, 2) == 4 && tbft::rounded_quotient(-7, 2) == -4);
  CHECK(tbft::rounded_quotient(5, 3) == 2 && tbft::rounded_quotient(-5, 3) == -2);
  CHECK(tbft::rounded_quotient(4, 3) == 1 && tbft::rounded_quotient(-4, 3) == -1);
  CHECK(tbft::rounded_quotient(int64_t{1} << 60, 3) == INT32_MAX);
  CHECK(tbft::rounded_quotient(-(int64_t{1} << 60), 3) == INT32_MIN);
}

void test_ina219() {
  FakeBus bus;
  bus.set(kAddress, 0x00, 0x399f, 2);
  bus.set(kAddress, 0x01, 0, 2);
  bus.set(kAddress, 0x02, 0, 2);
  bus.set(kAddress, 0x03, 0, 2);
  // Reading the power register clears CNVR (bit 1 of the bus voltage).
  bus.devices[kAddress].before_read = [&bus](uint8_t number) {
    if (number == 0x03) bus.set(kAddress, 0x02, bus.get(kAddress, 0x02) & ~uint64_t{2}, 2);
  };
  tbft::Ina219::Config config;
  config.shunt_uohm = 100'000;
  config.range = tbft::Ina219::Range::k80mV;
  config.average_log2 = 2;
  tbft::Ina219 sensor(bus, kAddress, config);
  CHECK(sensor.start() == SensorStatus::kOk);
  // 32 V, ±80 mV (PG 01), four conversions averaged (1010 twice), both continuously.
  CHECK(bus.get(kAddress, 0x00) == 0b0010'1101'0101'0111);
  CHECK(sensor.conversion_us() == 2 * 4 * 532);
  CurrentReading reading;
  CHECK(sensor.read(&reading) == SensorStatus::kNotReady);
  // 12.8 mV over 0.1 Ω are 128 mA; 3.3 V are 825 × 4 mV.
  bus.set(kAddress, 0x01, 1280, 2);
  bus.set(kAddress, 0x02, 825 << 3 | 2, 2);
  CHECK(sensor.read(&reading) == SensorStatus::kOk);
  CHECK(reading.current_ua == 128'000 && reading.voltage_uv == 3'300'000 && reading.flags == 0);
  CHECK(sensor.read(&reading) == SensorStatus::kNotReady);  // handed out once
  bus.set(kAddress, 0x01, 0xffff, 2);
  bus.set(kAddress, 0x02, 2, 2);
  CHECK(sensor.read(&reading) == SensorStatus::kOk && reading.current_ua == -100);
  for (const int raw : {8000, -8000}) {  // 80 mV: the end of the range
    bus.set(kAddress, 0x01, static_cast<uint16_t>(raw), 2);
    bus.set(kAddress, 0x02, 2, 2);
    CHECK(sensor.read(&reading) == SensorStatus::kOk);
    CHECK(reading.flags == CurrentReading::kOverRange && reading.current_ua == raw * 100);
  }
  bus.set(kAddress, 0x01, 7999, 2);
  bus.set(kAddress, 0x02, 2, 2);
  CHECK(sensor.read(&reading) == SensorStatus::kOk && reading.flags == 0);

  // What does not keep its settings is no INA219.
  bus.devices[kAddress].after_write = [&bus](uint8_t) { bus.set(kAddress, 0x00, 0x1234, 2); };
  CHECK(sensor.start() == SensorStatus::kWrongDevice);
  config.shunt_uohm = 99;
  CHECK(tbft::Ina219(bus, kAddress, config).start() == SensorStatus::kBadConfig);
  config.shunt_uohm = 100'000;
  config.average_log2 = 8;
  CHECK(tbft::Ina219(bus, kAddress, config).start() == SensorStatus::kBadConfig);
  CHECK(tbft::Ina219(bus, 0x41, {}).start() == SensorStatus::kNoAnswer);
}

void test_ina226() {
  FakeBus bus;
  bus.set(kAddress, 0xfe, 0x5449, 2);
  bus.set(kAddress, 0xff, 0x2260, 2);
  bus.set(kAddress, 0x06, 0, 2);
  bool ready = false;
  bus.devices[kAddress].before_read = [&](uint8_t number) {
    if (number != 0x06) return;
    bus.set(kAddress, 0x06, ready ? 1 << 3 : 0, 2);
    ready = false;  // reading it clears CVRF
  };
  tbft::Ina226::Config config;
  config.shunt_uohm = 20'000;
  config.conversion = 1;
  config.average = 2;
  tbft::Ina226 sensor(bus, kAddress, config);
  CHECK(sensor.start() == SensorStatus::kOk);
  CHECK(bus.get(kAddress, 0x00) == (0x4000 | 2 << 9 | 1 << 6 | 1 << 3 | 7));
  CHECK(sensor.conversion_us() == 2 * 204 * 16);
  CurrentReading reading;
  CHECK(sensor.read(&reading) == SensorStatus::kNotReady);
  bus.set(kAddress, 0x01, 1001, 2);  // 2.5025 mV over 20 mΩ: 125.125 mA
  bus.set(kAddress, 0x02, 2960, 2);  // 3.7 V
  ready = true;
  CHECK(sensor.read(&reading) == SensorStatus::kOk);
  CHECK(reading.current_ua == 125'125 && reading.voltage_uv == 3'700'000 && reading.flags == 0);
  CHECK(sensor.read(&reading) == SensorStatus::kNotReady);
  for (const int raw : {32767, -32768, 32766}) {
    ready = true;
    bus.set(kAddress, 0x01, static_cast<uint16_t>(raw), 2);
    CHECK(sensor.read(&reading) == SensorStatus::kOk);
    CHECK(reading.current_ua == raw * 125);
    CHECK(reading.flags == (raw == 32766 ? 0 : CurrentReading::kOverRange));
  }
  // 100 µΩ and a full shunt are 819 A: within 32 bits of µA.
  config.shunt_uohm = 100;
  tbft::Ina226 thick(bus, kAddress, config);
  ready = true;
  CHECK(thick.start() == SensorStatus::kOk && thick.read(&reading) == SensorStatus::kOk);
  CHECK(reading.current_ua == 32766 * 25'000);
  bus.set(kAddress, 0xff, 0x2261, 2);  // a later revision is one as well
  CHECK(sensor.start() == SensorStatus::kOk);
  bus.set(kAddress, 0xff, 0x2280, 2);
  CHECK(sensor.start() == SensorStatus::kWrongDevice);
  config.average = 8;
  CHECK(tbft::Ina226(bus, kAddress, config).start() == SensorStatus::kBadConfig);
}

void test_ina228() {
  FakeBus bus;
  bus.set(kAddress, 0x3e, 0x5449, 2);
  bus.set(kAddress, 0x3f, 0x2281, 2);
  bus.set(kAddress, 0x0b, 2, 2);
  bus.set(kAddress, 0x09, 0, 5);
  tbft::Ina228::Config config;
  config.shunt_uohm = 50'000;
  tbft::Ina228 sensor(bus, kAddress, config);
  CHECK(sensor.start() == SensorStatus::kOk);
  CHECK(bus.get(kAddress, 0x00) == 0x4000 && bus.get(kAddress, 0x02) == 4096);
  CHECK(bus.get(kAddress, 0x01) == (0xb << 12 | 5 << 9 | 5 << 6));
  CHECK(sensor.conversion_us() == 2 * 1052);
  CurrentReading reading;
  // 16000 × 312.5 nV = 5 mV over 50 mΩ: 100 mA. 3.3 V / 195.3125 µV = 16896.
  bus.set(kAddress, 0x04, 16000 << 4, 3);
  bus.set(kAddress, 0x05, 16896 << 4, 3);
  CHECK(sensor.read(&reading) == SensorStatus::kOk);
  CHECK(reading.current_ua == 100'000 && reading.voltage_uv == 3'300'000 && reading.flags == 0);
  bus.set(kAddress, 0x04, (0x100000 - 16000) << 4, 3);
  CHECK(sensor.read(&reading) == SensorStatus::kOk && reading.current_ua == -100'000);
  bus.set(kAddress, 0x04, 0x7ffff0, 3);
  CHECK(sensor.read(&reading) == SensorStatus::kOk);
  CHECK(reading.flags == CurrentReading::kOverRange && reading.current_ua == 3'276'794);
  bus.set(kAddress, 0x0b, 0, 2);
  CHECK(sensor.read(&reading) == SensorStatus::kNotReady);

  // One count is 16 · 3.2 · 312.5 nV / 50 mΩ = 320 µJ.
  uint64_t energy = 0;
  bus.set(kAddress, 0x09, 1, 5);
  CHECK(sensor.read_energy_uj(&energy) == SensorStatus::kOk && energy == 320);
  bus.set(kAddress, 0x09, 0xffffffffff, 5);
  CHECK(sensor.read_energy_uj(&energy) == SensorStatus::kOk);
  CHECK(energy == uint64_t{0xffffffffff} * 320);

  config.narrow = true;
  tbft::Ina228 narrow(bus, kAddress, config);
  CHECK(narrow.start() == SensorStatus::kOk);
  CHECK(bus.get(kAddress, 0x00) == 0x4010 && bus.get(kAddress, 0x02) == 4096);
  bus.set(kAddress, 0x0b, 2, 2);
  bus.set(kAddress, 0x04, 64000 << 4, 3);
  CHECK(narrow.read(&reading) == SensorStatus::kOk && reading.current_ua == 100'000);
  bus.set(kAddress, 0x09, 1, 5);
  CHECK(narrow.read_energy_uj(&energy) == SensorStatus::kOk && energy == 80);
  bus.set(kAddress, 0x3e, 0x4954, 2);
  CHECK(sensor.start() == SensorStatus::kWrongDevice);
  config.conversion = 8;
  CHECK(tbft::Ina228(bus, kAddress, config).start() == SensorStatus::kBadConfig);
}

void test_powerfeather() {
  constexpr uint8_t kCharger = tbft::PowerFeatherSensor::kAddress;
  using Channel = tbft::PowerFeatherSensor::Channel;
  FakeBus bus;
  bus.set(kCharger, 0x38, 4 << 3 | 2, 1);
  tbft::PowerFeatherSensor battery(bus, Channel::kBattery);
  CHECK(battery.start() == SensorStatus::kOk);
  CHECK(bus.get(kCharger, 0x26) == 0xc0);         // enabled, once, 12 bits
  CHECK(bus.get(kCharger, 0x27) == 0b1010'1111);  // but IBAT and VBAT
  CurrentReading reading;
  CHECK(battery.read(&reading) == SensorStatus::kNotReady);
  bus.set(kCharger, 0x26, 0x40, 1);                                   // ADC_EN cleared itself
  bus.set_low_first(kCharger, 0x2a, static_cast<uint16_t>(-25 * 4));  // −100 mA: discharging
  bus.set_low_first(kCharger, 0x30, 1859 << 1);
  CHECK(battery.read(&reading) == SensorStatus::kOk);
  CHECK(reading.current_ua == 100'000 && reading.voltage_uv == 1859 * 1990);
  CHECK(bus.get(kCharger, 0x26) == 0xc0);  // the next conversion is on its way
  CHECK(battery.read(&reading) == SensorStatus::kNotReady);
  bus.set(kCharger, 0x26, 0x40, 1);
  bus.set_low_first(kCharger, 0x2a, 12 * 4);
  CHECK(battery.read(&reading) == SensorStatus::kOk && reading.current_ua == -48'000);
  bus.set(kCharger, 0x26, 0x40, 1);
  bus.set_low_first(kCharger, 0x2a, 0x8000);  // turned around while converting
  CHECK(battery.read(&reading) == SensorStatus::kNotReady && bus.get(kCharger, 0x26) == 0xc0);

  tbft::PowerFeatherSensor supply(bus, Channel::kSupply);
  CHECK(supply.start() == SensorStatus::kOk && bus.get(kCharger, 0x27) == 0b0101'1111);
  bus.set(kCharger, 0x26, 0x40, 1);
  bus.set_low_first(kCharger, 0x28, 60 << 1);
  bus.set_low_first(kCharger, 0x2c, 1260 << 2);
  CHECK(supply.read(&reading) == SensorStatus::kOk);
  CHECK(reading.current_ua == 120'000 && reading.voltage_uv == 1260 * 3970);
  bus.set(kCharger, 0x38, 3 << 3, 1);
  CHECK(supply.start() == SensorStatus::kWrongDevice);

  // The gauge. CRC-8 of 0x16 0x09 0x17 0x68 0x0f (3944 mV), and of the write of 1 to 0x15, computed
  // apart with the polynomial 0x07.
  constexpr uint8_t kGauge = tbft::Lc709204f::kAddress;
  tbft::Lc709204f gauge(bus);
  CHECK(gauge.start() == SensorStatus::kNoAnswer);
  bus.devices[kGauge];
  CHECK(gauge.start() == SensorStatus::kOk);
  CHECK(bus.get(kGauge, 0x15) == 0x010064);
  bus.devices[kGauge].registers[0x09] = {0x68, 0x0f, 0x1b};
  uint16_t millivolt = 0;
  CHECK(gauge.read_voltage_mv(&millivolt) == SensorStatus::kOk && millivolt == 3944);
  bus.devices[kGauge].registers[0x09] = {0x69, 0x0f, 0x1b};
  CHECK(gauge.read_voltage_mv(&millivolt) == SensorStatus::kBadChecksum && millivolt == 3944);
  uint8_t percent = 0;
  bus.devices[kGauge].registers[0x0d] = {0x55, 0x00, 0x00};
  CHECK(gauge.read_charge_percent(&percent) == SensorStatus::kBadChecksum);
}

void test_stuck_bus() {
  FakeBus bus;
  bus.set(kAddress, 0xfe, 0x5449, 2);
  bus.set(kAddress, 0xff, 0x2260, 2);
  tbft::Ina226 sensor(bus, kAddress, {});
  // Held by an interrupted device: freed, and the transfer repeated.
  bus.stuck_for = 1;
  CHECK(sensor.start() == SensorStatus::kOk && bus.recoveries == 1);
  // Held for good: said in words, after one attempt per transfer.
  bus.stuck_for = -1;
  bus.frees = false;
  bus.transfers = 0;
  const SensorStatus status = sensor.start();
  CHECK(status == SensorStatus::kBusStuck && bus.transfers == 1 && bus.recoveries == 2);
  CHECK(strstr(to_string(status), "stuck") != nullptr);
  bus.stuck_for = 0;
  bus.refuses = true;
  CHECK(sensor.start() == SensorStatus::kBusFailed);
  for (int i = 0; i <= 7; ++i) {
    CHECK(strlen(to_string(static_cast<SensorStatus>(i))) > 1);
  }
}

}  // namespace

int main() {
  test_arithmetic();
  test_ina219();
  test_ina226();
  test_ina228();
  test_powerfeather();
  test_stuck_bus();
  return verdict();
}
