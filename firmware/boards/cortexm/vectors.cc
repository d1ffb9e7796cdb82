// Reset and exceptions of a Cortex-M. The program runs on the process stack, handlers on the main
// stack, so that a fault by stack overflow can still be told.
#include <cstdint>

#include "fault.h"
#include "linker_symbols.h"

namespace {

constexpr uint32_t kHandlerStackWords = 512;
alignas(8) uint32_t g_handler_stack[kHandlerStackWords];

volatile uint32_t& reg(uint32_t address) {
  return *reinterpret_cast<volatile uint32_t*>(static_cast<uintptr_t>(address));
}

constexpr uint32_t kVtor = 0xe000ed08;
constexpr uint32_t kCcr = 0xe000ed14;  // configuration and control
constexpr uint32_t kDivisionTrap = 1U << 4;
constexpr uint32_t kCfsr = 0xe000ed28;  // what fault it was
constexpr uint32_t kMmfar = 0xe000ed34;
constexpr uint32_t kBfar = 0xe000ed38;
constexpr uint32_t kCpacr = 0xe000ed88;
constexpr uint32_t kFpuAccess = 0xfU << 20;
constexpr uint32_t kMpuControl = 0xe000ed94;
constexpr uint32_t kMpuBase = 0xe000ed9c;
constexpr uint32_t kMpuSize = 0xe000eda0;

constexpr uint32_t kGuardBytes = 64U << 10;  // the stack's bottom is a multiple of it

uint32_t stack_bottom() {
  return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(tbft_stack_bottom));
}

struct Cause {
  uint32_t mask;
  const char* text;
};
// Bits of CFSR, the telling ones first.
constexpr Cause kCauses[] = {
    {0x00001010, "stack overflow"},  // stacking failed, by MPU or bus
    {0x00000002, "write to flash or access to protected memory"},
    {0x00000001, "jump out of the program"},
    {0x00000100, "jump to where no memory is"},
    {0x00008200, "access where no memory is"},
    {0x00000400, "imprecise bus error"},
    {0x00010000, "undefined instruction"},
    {0x00020000, "invalid state"},
    {0x00040000, "invalid exception return"},
    {0x00080000, "coprocessor access"},
    {0x01000000, "unaligned access"},
    {0x02000000, "division by zero"},
};

extern "C" {

[[noreturn]] void tbft_start();

[[noreturn]] __attribute__((used)) void tbft_cortexm_reset() {
#if defined(__ARM_FP)
  reg(kCpacr) = reg(kCpacr) | kFpuAccess;
#endif
  reg(kCcr) = reg(kCcr) | kDivisionTrap;
  // Flash is not written by accident, nor is address 0: 4 MiB from 0 are read-only. What lies right
  // below the stack can't be touched. Everything else is as the default map says.
  constexpr uint32_t kFourMiB = 21U << 1;
  constexpr uint32_t kGuardSize = 15U << 1;  // 64 KiB
  constexpr uint32_t kReadOnly = 6U << 24;
  constexpr uint32_t kRegionNumberValid = 1U << 4;
  reg(kMpuBase) = 0 | kRegionNumberValid | 0;
  reg(kMpuSize) = kReadOnly | kFourMiB | 1;
  reg(kMpuBase) = (stack_bottom() - kGuardBytes) | kRegionNumberValid | 1;
  reg(kMpuSize) = kGuardSize | 1;
  reg(kMpuControl) = 4 | 1;
  asm volatile("dsb\n isb" ::: "memory");
  tbft_start();
}

__attribute__((naked)) void tbft_reset() {
  asm volatile(
      "cpsid i\n"
      "ldr r0, =tbft_stack_top\n"
      "msr psp, r0\n"
      "movs r0, #2\n"
      "msr control, r0\n"
      "isb\n"
      "bl tbft_cortexm_reset\n");
}

// `frame`: what the CPU stacked, r0-r3, r12, lr, pc, xPSR.
[[noreturn]] __attribute__((used)) void tbft_cortexm_fault(const uint32_t* frame) {
  const uint32_t status = reg(kCfsr);
  const char* what = "unexpected exception or interrupt";
  for (const Cause& cause : kCauses) {
    if ((status & cause.mask) != 0) {
      what = cause.text;
      break;
    }
  }
  // After a stack overflow there is no frame to be read.
  const bool readable = frame >= tbft_stack_bottom && frame + 8 <= tbft_stack_top;
  const bool on_handler_stack =
      frame >= g_handler_stack && frame + 8 <= g_handler_stack + kHandlerStackWords;
  const uint32_t pc = readable || on_handler_stack ? frame[6] : 0;
  uint32_t address = 0;
  if ((status & 0x0080) != 0) {
    address = reg(kMmfar);
  } else if ((status & 0x8000) != 0) {
    address = reg(kBfar);
  }
  if (address - (stack_bottom() - kGuardBytes) < kGuardBytes) what = "stack overflow";
  tbft_fault(what, pc, address);
}

__attribute__((naked, used)) void tbft_cortexm_exception() {
  asm volatile(
      "tst lr, #4\n"
      "ite eq\n"
      "mrseq r0, msp\n"
      "mrsne r0, psp\n"
      "b tbft_cortexm_fault\n");
}

// A program that does not use the UART gets no interrupt from it.
__attribute__((weak, naked)) void tbft_uart_interrupt() {
  asm volatile("b tbft_cortexm_exception\n");
}

}  // extern "C"

struct VectorTable {
  uint32_t* handler_stack_top;
  void (*handlers[16])();
};

}  // namespace

extern "C" __attribute__((section(".vectors"), used)) constexpr VectorTable tbft_vectors = {
    g_handler_stack + kHandlerStackWords,
    {
        tbft_reset,
        tbft_cortexm_exception,  // NMI
        tbft_cortexm_exception,  // hard fault; the faults that follow end up here, too
        tbft_cortexm_exception,
        tbft_cortexm_exception,
        tbft_cortexm_exception,
        nullptr,
        nullptr,
        nullptr,
        nullptr,
        tbft_cortexm_exception,  // SVC
        tbft_cortexm_exception,
        nullptr,
        tbft_cortexm_exception,  // PendSV
        tbft_cortexm_exception,  // SysTick
        tbft_uart_interrupt,     // interrupt 0: UART0 has received
    }};
