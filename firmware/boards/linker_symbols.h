// What the linker scripts of the emulated boards tell.
#pragma once

#include <cstdint>

extern "C" {
extern uint8_t tbft_flash_start[];
extern uint8_t tbft_flash_end[];
extern uint32_t tbft_stack_bottom[];  // the stack grows down to here
extern uint32_t tbft_stack_top[];
extern uint8_t tbft_data_image[];  // initial content of .data
extern uint8_t tbft_data_start[];
extern uint8_t tbft_data_end[];
extern uint8_t tbft_bss_start[];
extern uint8_t tbft_bss_end[];
extern uint8_t tbft_psram_start[];
extern uint8_t tbft_psram_end[];
}
