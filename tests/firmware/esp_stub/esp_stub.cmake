# The ESP32 HALs and main_esp.cc against stand-ins for ESP-IDF (include/), for this computer; one program per test_*.cc, and
# test_esp_main once per board. Included by firmware/CMakeLists.txt.
set(esp_stub ${CMAKE_CURRENT_LIST_DIR})
file(GLOB hal_esp_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/lib/hal_esp/*.cc)
add_library(hal_esp_stubbed STATIC ${hal_esp_sources} ${esp_stub}/esp_stub.cc)
target_include_directories(hal_esp_stubbed PUBLIC ${esp_stub})
# The vendor's names, not ours: nothing to warn about.
target_include_directories(hal_esp_stubbed SYSTEM PUBLIC ${esp_stub}/include)
target_link_libraries(hal_esp_stubbed PUBLIC wire duty runtime kernels sensors hal_memory hal_virtual)

file(GLOB esp_tests CONFIGURE_DEPENDS ${esp_stub}/test_*.cc)
list(REMOVE_ITEM esp_tests ${esp_stub}/test_esp_main.cc)
foreach(source ${esp_tests})
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE hal_esp_stubbed)
endforeach()

foreach(board terracorder esp32 esp32c3 esp32p4)
  string(TOUPPER ${board} symbol)
  add_executable(test_esp_main_${board} ${esp_stub}/test_esp_main.cc ${CMAKE_CURRENT_SOURCE_DIR}/app/main_esp.cc)
  target_include_directories(test_esp_main_${board} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
  target_compile_definitions(test_esp_main_${board} PRIVATE
    TBFT_ESP_BOARD_${symbol} TBFT_VERSION="${PROJECT_VERSION}")
  target_link_libraries(test_esp_main_${board} PRIVATE hal_esp_stubbed)
endforeach()
