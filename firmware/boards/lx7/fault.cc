// Exceptions of the Xtensa board in words.
#include <cstdint>

#include "fault.h"
#include "linker_symbols.h"

namespace {

struct Cause {
  uint8_t number;
  const char* text;
};
// EXCCAUSE, as in the core's instruction set manual.
constexpr Cause kCauses[] = {
    {0, "illegal instruction"},
    {1, "system call, of which there are none"},
    {2, "jump to where no memory is"},
    {3, "access where no memory is"},
    {5, "variable stack frame, of which there are none"},
    {6, "division by zero"},
    {8, "privileged instruction"},
    {9, "misaligned access"},
    {12, "bus error reading an instruction"},
    {13, "bus error"},
    {14, "bus error reading an instruction"},
    {15, "bus error"},
    {16, "jump to where no memory is"},
    {20, "jump to where no program is"},
    {24, "access where no memory is"},
    {28, "load from where no memory is"},
    {29, "store to where no memory is"},
};

}  // namespace

extern "C" {

// Called by start.S.
[[noreturn]] __attribute__((used)) void tbft_lx7_fault(uint32_t number, uint32_t pc,
                                                       uint32_t address) {
  const char* what = "unexpected exception or interrupt";
  for (const Cause& cause : kCauses) {
    if (cause.number == number) what = cause.text;
  }
  const auto bottom = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(tbft_stack_bottom));
  constexpr uint32_t kReach = 64U << 10;  // below the stack
  if (address - (bottom - kReach) < kReach) what = "stack overflow";
  tbft_fault(what, pc, address);
}

}  // extern "C"
