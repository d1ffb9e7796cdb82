// An I2C bus with register devices that answer as their data sheets say, and with faults on demand.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "hal/i2c_bus.h"

class FakeBus final : public tbft::I2cBus {
 public:
  struct Device {
    // Bytes of a register in the order they travel; missing registers answer nothing.
    std::map<uint8_t, std::vector<uint8_t>> registers;
    // Called before a register is read and after it was written.
    std::function<void(uint8_t number)> before_read = [](uint8_t) {};
    std::function<void(uint8_t number)> after_write = [](uint8_t) {};
  };

  std::map<uint8_t, Device> devices;
  int stuck_for = 0;     // so many transfers find the bus held, < 0 all
  bool frees = true;     // whether recover() helps
  bool refuses = false;  // the controller itself
  int recoveries = 0;
  int transfers = 0;

  tbft::I2cResult write(uint8_t address, const uint8_t* data, size_t size) override {
    const tbft::I2cResult fault = next(address);
    if (fault != tbft::I2cResult::kOk) return fault;
    Device& device = devices[address];
    device.registers[data[0]].assign(data + 1, data + size);
    device.after_write(data[0]);
    return tbft::I2cResult::kOk;
  }

  tbft::I2cResult write_read(uint8_t address, const uint8_t* out, size_t out_size, uint8_t* in,
                             size_t in_size) override {
    const tbft::I2cResult fault = next(address);
    if (fault != tbft::I2cResult::kOk) return fault;
    if (out_size != 1) return tbft::I2cResult::kFailed;
    Device& device = devices[address];
    device.before_read(out[0]);
    const auto found = device.registers.find(out[0]);
    if (found == device.registers.end()) return tbft::I2cResult::kNoAnswer;
    for (size_t i = 0; i < in_size; ++i) in[i] = i < found->second.size() ? found->second[i] : 0xff;
    return tbft::I2cResult::kOk;
  }

  tbft::I2cResult recover() override {
    ++recoveries;
    if (!frees) return tbft::I2cResult::kStuck;
    stuck_for = 0;
    return tbft::I2cResult::kOk;
  }

  // Big-endian registers of any width.
  void set(uint8_t address, uint8_t number, uint64_t value, size_t size) {
    std::vector<uint8_t>& bytes = devices[address].registers[number];
    bytes.resize(size);
    for (size_t i = 0; i < size; ++i) {
      bytes[i] = static_cast<uint8_t>(value >> (8 * (size - 1 - i)));
    }
  }
  // Little-endian ones.
  void set_low_first(uint8_t address, uint8_t number, uint16_t value) {
    devices[address].registers[number] = {static_cast<uint8_t>(value),
                                          static_cast<uint8_t>(value >> 8)};
  }
  uint64_t get(uint8_t address, uint8_t number) {
    uint64_t value = 0;
    for (const uint8_t byte : devices[address].registers[number]) value = (value << 8) | byte;
    return value;
  }

 private:
  tbft::I2cResult next(uint8_t address) {
    ++transfers;
    if (refuses) return tbft::I2cResult::kFailed;
    if (stuck_for != 0) {
      if (stuck_for > 0) --stuck_for;
      return tbft::I2cResult::kStuck;
    }
    return devices.count(address) != 0 ? tbft::I2cResult::kOk : tbft::I2cResult::kNoAnswer;
  }
};
