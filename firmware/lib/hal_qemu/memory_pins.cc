#include "hal_qemu/memory_pins.h"

volatile uint32_t tbft_trigger_pins = 0;
