#include "hal_esp/esp_i2c_bus.h"

#include <driver/gpio.h>
#include <esp_rom_sys.h>

namespace tbft {
namespace {

// The longest transfer here is 10 bytes: 0.25 ms at 400 kHz. Anything longer is a held line.
constexpr int kTransferTimeoutMs = 20;
constexpr uint32_t kHalfClockUs = 5;  // 100 kHz: every device follows
constexpr int kRecoveryClocks = 9;
constexpr uint8_t kGlitchFilter = 7;  // clock cycles of the controller; ESP-IDF's typical value

}  // namespace

bool EspI2cBus::open(const Config& config) {
  config_ = config;
  mutex_ = xSemaphoreCreateMutexStatic(&mutex_memory_);
  return start_driver();
}

bool EspI2cBus::start_driver() {
  i2c_master_bus_config_t settings = {};
  settings.i2c_port = -1;  // whichever is free
  settings.sda_io_num = static_cast<gpio_num_t>(config_.sda_pin);
  settings.scl_io_num = static_cast<gpio_num_t>(config_.scl_pin);
  settings.clk_source = I2C_CLK_SRC_DEFAULT;
  settings.glitch_ignore_cnt = kGlitchFilter;
  settings.flags.enable_internal_pullup = config_.internal_pull_ups ? 1U : 0U;
  return i2c_new_master_bus(&settings, &bus_) == ESP_OK;
}

void EspI2cBus::stop_driver() {
  if (device_ != nullptr) {
    (void)i2c_master_bus_rm_device(device_);
    device_ = nullptr;
  }
  if (bus_ != nullptr) {
    (void)i2c_del_master_bus(bus_);
    bus_ = nullptr;
  }
}

bool EspI2cBus::device_at(uint8_t address) {
  if (device_ != nullptr && device_address_ == address) {
    return true;
  }
  if (device_ != nullptr) {
    (void)i2c_master_bus_rm_device(device_);
    device_ = nullptr;
  }
  i2c_device_config_t settings = {};
  settings.dev_addr_length = I2C_ADDR_BIT_LEN_7;
  settings.device_address = address;
  settings.scl_speed_hz = config_.clock_hz;
  device_address_ = address;
  return bus_ != nullptr && i2c_master_bus_add_device(bus_, &settings, &device_) == ESP_OK;
}

I2cResult EspI2cBus::result(esp_err_t error) const {
  if (error == ESP_OK) {
    return I2cResult::kOk;
  }
  // The driver's error codes do not tell a missing answer from a held line in every release; the
  // lines themselves do.
  if (error == ESP_ERR_TIMEOUT || !is_high(config_.sda_pin) || !is_high(config_.scl_pin)) {
    return I2cResult::kStuck;
  }
  return error == ESP_ERR_INVALID_ARG ? I2cResult::kFailed : I2cResult::kNoAnswer;
}

I2cResult EspI2cBus::write(uint8_t address, const uint8_t* data, size_t size) {
  if (mutex_ == nullptr) {
    return I2cResult::kFailed;
  }
  const Lock lock(mutex_);
  if (!device_at(address)) {
    return I2cResult::kFailed;
  }
  return result(i2c_master_transmit(device_, data, size, kTransferTimeoutMs));
}

I2cResult EspI2cBus::write_read(uint8_t address, const uint8_t* out, size_t out_size, uint8_t* in,
                                size_t in_size) {
  if (mutex_ == nullptr) {
    return I2cResult::kFailed;
  }
  const Lock lock(mutex_);
  if (!device_at(address)) {
    return I2cResult::kFailed;
  }
  return result(
      i2c_master_transmit_receive(device_, out, out_size, in, in_size, kTransferTimeoutMs));
}

void EspI2cBus::set_line(int pin, uint32_t level) const {
  (void)gpio_set_level(static_cast<gpio_num_t>(pin), level);
  esp_rom_delay_us(kHalfClockUs);
}

bool EspI2cBus::is_high(int pin) const { return gpio_get_level(static_cast<gpio_num_t>(pin)) != 0; }

I2cResult EspI2cBus::recover() {
  if (mutex_ == nullptr) {
    return I2cResult::kFailed;
  }
  const Lock lock(mutex_);
  const int sda = config_.sda_pin;
  const int scl = config_.scl_pin;
  stop_driver();
  gpio_config_t lines = {};
  lines.pin_bit_mask =
      (uint64_t{1} << static_cast<uint32_t>(sda)) | (uint64_t{1} << static_cast<uint32_t>(scl));
  lines.mode = GPIO_MODE_INPUT_OUTPUT_OD;
  lines.pull_up_en = config_.internal_pull_ups ? GPIO_PULLUP_ENABLE : GPIO_PULLUP_DISABLE;
  lines.pull_down_en = GPIO_PULLDOWN_DISABLE;
  lines.intr_type = GPIO_INTR_DISABLE;
  if (gpio_config(&lines) != ESP_OK) {
    return I2cResult::kFailed;
  }
  set_line(sda, 1);
  set_line(scl, 1);
  for (int i = 0; i < kRecoveryClocks; ++i) {
    set_line(scl, 0);
    set_line(scl, 1);
  }
  // STOP: SDA rises while SCL is high.
  set_line(scl, 0);
  set_line(sda, 0);
  set_line(scl, 1);
  set_line(sda, 1);
  const bool free = is_high(sda) && is_high(scl);
  if (!start_driver()) {
    return I2cResult::kFailed;
  }
  return free ? I2cResult::kOk : I2cResult::kStuck;
}

}  // namespace tbft
