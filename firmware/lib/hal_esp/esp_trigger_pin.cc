#include "hal_esp/esp_trigger_pin.h"

#include <driver/gpio.h>

namespace tbft {

bool EspTriggerPin::open(const int* pins, size_t count) {
  if (count > kMaxPins) {
    return false;
  }
  gpio_config_t settings = {};
  settings.mode = GPIO_MODE_OUTPUT;
  settings.pull_up_en = GPIO_PULLUP_DISABLE;
  settings.pull_down_en = GPIO_PULLDOWN_DISABLE;
  settings.intr_type = GPIO_INTR_DISABLE;
  for (size_t i = 0; i < count; ++i) {
    settings.pin_bit_mask |= uint64_t{1} << static_cast<uint32_t>(pins[i]);
    pins_[i] = pins[i];
  }
  if (count != 0 && gpio_config(&settings) != ESP_OK) {
    return false;
  }
  count_ = count;
  set(0);
  return true;
}

void EspTriggerPin::set(uint8_t value) {
  for (size_t i = 0; i < count_; ++i) {
    (void)gpio_set_level(static_cast<gpio_num_t>(pins_[i]), (value >> i) & 1U);
  }
}

}  // namespace tbft
