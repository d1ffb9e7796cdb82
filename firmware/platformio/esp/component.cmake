# The firmware as a component of ESP-IDF. firmware/CMakeLists.txt includes this when ESP-IDF reads it, for PlatformIO's
# `framework = espidf`, which takes the source folder as the component with the project's sources. Run twice: the first pass only
# wants the names behind PRIV_REQUIRES.
get_filename_component(tbft_root ${CMAKE_CURRENT_LIST_DIR}/../.. ABSOLUTE)
file(GLOB tbft_sources ${tbft_root}/lib/*/*.cc)
# The HALs of other boards.
list(FILTER tbft_sources EXCLUDE REGEX "/lib/hal_(native|qemu)/")
list(APPEND tbft_sources ${tbft_root}/app/main_esp.cc)
if(IDF_TARGET STREQUAL "esp32")  # has no USB port
  list(FILTER tbft_sources EXCLUDE REGEX "/esp_usb_stream\\.cc$")
endif()

idf_component_register(
  SRCS ${tbft_sources}
  INCLUDE_DIRS ${tbft_root} ${tbft_root}/lib
  # One for each vendor header that hal_esp and main_esp.cc include (ESP-IDF 5.3 and later: one component per driver).
  PRIV_REQUIRES esp_driver_gpio esp_driver_i2c esp_driver_uart esp_driver_usb_serial_jtag esp_hw_support esp_partition esp_psram
                esp_rom esp_system esp_timer freertos heap spi_flash)

# ESP-IDF compiles C++ as its compiler's newest; this code is C++17 everywhere. Kernels want -O3, as on the other boards.
target_compile_options(${COMPONENT_LIB} PRIVATE -std=gnu++17 -O3 -Wall -Wextra -fno-exceptions -fno-rtti)
