// The emulator's time. With `-icount shift=6,sleep=off` each instruction takes 64 ns, an idle CPU
// none: time is the number of instructions, the same in every run and on every computer.
#pragma once

#include <cstdint>

#include "hal/clock.h"

namespace tbft {

constexpr uint32_t kNanosecondsPerInstruction = 64;
constexpr uint32_t kVirtualClockHz = 1'000'000'000U / kNanosecondsPerInstruction;

// Time since the start of the emulator. Cortex-M: the free-running counter of the MPS2 boards' FPGA
// at 25 MHz, 32 bits. RISC-V: the count of retired instructions, in QEMU's unit (1 ns of virtual
// time). Xtensa: CCOUNT, at 40 MHz on this core, 32 bits. Of those with 32 bits the upper part is
// counted here: to be called at least every 100 s of virtual time (1.6 thousand million
// instructions). Waits in an IdleScope are not in it.
uint64_t virtual_ns();
// Instructions since the start of the emulator; what passes in an IdleScope counts like them.
uint64_t instructions();

// While the CPU sleeps until a byte comes. QEMU lets an idle machine's time jump to the next of its
// timers, and some run that nobody started: the MPS2 boards' watchdog twice, 172 s each. Such jumps
// are taken out again.
class IdleScope {
 public:
  IdleScope();
  ~IdleScope();
  IdleScope(const IdleScope&) = delete;
  IdleScope& operator=(const IdleScope&) = delete;

 private:
  uint64_t began_ns_;
};

// The board's clock: virtual time, and the waits that passed at once.
class QemuClock final : public Clock {
 public:
  uint64_t now_us() override;
  // Lets time pass at once, while nothing is to be done.
  static void pass_us(uint64_t time_us);
};

}  // namespace tbft
