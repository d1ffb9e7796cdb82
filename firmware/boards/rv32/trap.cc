// Traps of the RISC-V board in words; the UART's interrupt goes on.
#include <cstdint>

#include "fault.h"
#include "linker_symbols.h"

namespace {

constexpr uint32_t kInterrupt = 1U << 31;
constexpr uint32_t kMachineExternal = kInterrupt | 11;

// mcause of exceptions, by number.
constexpr const char* kCauses[] = {
    "misaligned instruction address",
    "jump to where no memory is",
    "illegal instruction",
    "breakpoint",
    "misaligned load",
    "load from where no memory is",
    "misaligned store",
    "store to flash or to where no memory is",
};
constexpr uint32_t kCauseCount = sizeof kCauses / sizeof kCauses[0];
constexpr uint32_t kStoreFault = 7;

}  // namespace

extern "C" {

__attribute__((weak)) void tbft_uart_interrupt() {
  tbft_fault("unexpected exception or interrupt", 0, 0);
}

void tbft_rv32_trap(uint32_t cause, uint32_t pc, uint32_t address) {
  if (cause == kMachineExternal) {
    tbft_uart_interrupt();
    return;
  }
  // Right below the stack lies flash: a store there came from a stack that overflowed.
  const auto bottom = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(tbft_stack_bottom));
  constexpr uint32_t kReach = 64U << 10;
  if (cause == kStoreFault && address < bottom && address >= bottom - kReach) {
    tbft_fault("stack overflow", pc, address);
  }
  tbft_fault(cause < kCauseCount ? kCauses[cause] : "unexpected exception or interrupt", pc,
             address);
}

}  // extern "C"
