// What differs between the ESP32 boards, beside what the chip itself says at the start. The
// environments of platformio.ini choose by TBFT_ESP_BOARD_*.
#pragma once

#include <cstddef>

#include "hal_esp/esp_uart_stream.h"

namespace tbft {

struct EspBoard {
  const char* name;
  bool usb_serial;  // the chip's USB Serial/JTAG port, else `uart`
  EspUartStream::Config uart;
  int trigger_pins[4];  // least significant bit first
  int sda_pin;
  int scl_pin;
  // Output that switches the sensor bus's supply on, or kNotConnected.
  int bus_supply_pin;
  bool power_feather;  // charger and gauge of that board are on the bus
};

constexpr size_t kEspTriggerPins = 4;
constexpr int kNotConnected = -1;

#if defined(TBFT_ESP_BOARD_TERRACORDER)
// ESP32-S3 PowerFeather. Pins: docs.powerfeather.dev, "Pinout"; the same in arduino-esp32,
// variants/esp32s3_powerfeather/pins_arduino.h. The trigger pins are D5, D6, D7, D8 on the header.
// The bus is that of the STEMMA QT connector (SDA1 47, SCL1 48), to which charger and gauge belong;
// it works only with VSQT on (EN_SQT, GPIO14).
constexpr EspBoard kEspBoard = {"terracorder", true, {}, {15, 16, 37, 6}, 47, 48, 14, true};
#elif defined(TBFT_ESP_BOARD_ESP32)
// ESP32-WROVER on an ESP32-DevKitC or ESP-WROVER-KIT: UART0 behind the USB bridge. GPIO16 and 17
// belong to the PSRAM (ESP32-WROVER data sheet, "Pin Definitions"), 34 to 39 are inputs only, 0, 2,
// 5, 12, 15 are strapping pins.
constexpr EspBoard kEspBoard = {"esp32", false, {}, {25, 26, 27, 33}, 21, 22, kNotConnected, false};
#elif defined(TBFT_ESP_BOARD_ESP32C3)
// ESP32-C3-DevKitM-1: UART0 behind the USB bridge. GPIO2, 8 and 9 are strapping pins (8 is the RGB
// LED), 11 to 17 belong to the flash.
constexpr EspBoard kEspBoard = {"esp32c3", false, {}, {4, 5, 6, 7}, 1, 0, kNotConnected, false};
#elif defined(TBFT_ESP_BOARD_ESP32P4)
// ESP32-P4-Function-EV-Board: UART0 behind the USB bridge; the board's own I2C bus (SDA 7, SCL 8);
// trigger pins on header J1.
constexpr EspBoard kEspBoard = {"esp32p4", false, {}, {20, 21, 22, 23}, 7, 8, kNotConnected, false};
#else
#error "define TBFT_ESP_BOARD_TERRACORDER, _ESP32, _ESP32C3 or _ESP32P4 (platformio.ini does)"
#endif

}  // namespace tbft
