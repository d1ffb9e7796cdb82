// What happens when the CPU can't go on.
#pragma once

#include <cstddef>
#include <cstdint>

constexpr size_t kFaultTextBytes = 128;
// Exit status of the emulator after a fault (that of sysexits.h's EX_SOFTWARE).
constexpr int kFaultStatus = 70;

extern "C" {
// Called by the exception handlers, on a stack of their own and with interrupts off. `what` in
// words; `pc` of the instruction, `address` that it accessed, 0 where unknown. Tells it and ends
// the emulator.
[[noreturn]] void tbft_fault(const char* what, uint32_t pc, uint32_t address);
// Puts the three into one line; returns `text`.
const char* tbft_fault_text(const char* what, uint32_t pc, uint32_t address,
                            char text[kFaultTextBytes]);

// The receive interrupt of the UART; hal_qemu/uart_stream.cc has it where the program uses the
// UART.
void tbft_uart_interrupt();
}
