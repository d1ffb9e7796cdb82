// ESP-IDF's I2C master as a bus, with recovery by hand: the lines as GPIOs, nine clocks, STOP.
#pragma once

#include <driver/i2c_master.h>
#include <freertos/FreeRTOS.h>
#include <freertos/semphr.h>

#include "hal/i2c_bus.h"

namespace tbft {

// Two tasks use the bus, the sensor sampler and whoever asks for the battery: each transfer, with
// the choice of its device, holds the lock.
class EspI2cBus final : public I2cBus {
 public:
  struct Config {
    int sda_pin = -1;
    int scl_pin = -1;
    uint32_t clock_hz = 400'000;
    // The chip's pull-ups are some 45 kΩ: too weak for 400 kHz, a help where a board has none.
    bool internal_pull_ups = false;
  };

  // Once, before the first transfer. False when the driver refuses.
  bool open(const Config& config);

  I2cResult write(uint8_t address, const uint8_t* data, size_t size) override;
  I2cResult write_read(uint8_t address, const uint8_t* out, size_t out_size, uint8_t* in,
                       size_t in_size) override;
  I2cResult recover() override;

 private:
  class Lock {
   public:
    explicit Lock(SemaphoreHandle_t mutex) : mutex_(mutex) {
      (void)xSemaphoreTake(mutex_, portMAX_DELAY);
    }
    ~Lock() { (void)xSemaphoreGive(mutex_); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    SemaphoreHandle_t mutex_;
  };

  bool start_driver();
  void stop_driver();
  // The driver's device for the address; a device less when there was no room.
  bool device_at(uint8_t address);
  I2cResult result(esp_err_t error) const;
  void set_line(int pin, uint32_t level) const;
  bool is_high(int pin) const;

  Config config_;
  StaticSemaphore_t mutex_memory_ = {};
  SemaphoreHandle_t mutex_ = nullptr;
  i2c_master_bus_handle_t bus_ = nullptr;
  i2c_master_dev_handle_t device_ = nullptr;
  uint8_t device_address_ = 0;
};

}  // namespace tbft
