#include "hal_esp/esp_sleep.h"

#include <esp_sleep.h>
#include <sys/time.h>

namespace tbft {

uint64_t EspSleep::now_us() {
  // ESP-IDF keeps this time with the RTC timer (CONFIG_LIBC_TIME_SYSCALL_USE_RTC_HRT, the default);
  // nobody sets it here.
  timeval now = {};
  (void)gettimeofday(&now, nullptr);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000U + static_cast<uint64_t>(now.tv_usec);
}

bool EspSleep::until(uint64_t wake_us) {
  const uint64_t now = now_us();
  if (wake_us <= now) {
    return true;
  }
  if (esp_sleep_enable_timer_wakeup(wake_us - now) != ESP_OK) {
    return false;
  }
  // Returns only when a wake-up source is active already.
  (void)esp_deep_sleep_try_to_start();
  return false;
}

}  // namespace tbft
