#include "hal_qemu/virtual_time.h"

namespace tbft {
namespace {

uint64_t g_passed_us = 0;
uint64_t g_idle_ns = 0;

#if !defined(__riscv)
// Extends a 32-bit counter that is asked often enough.
uint64_t extended(uint32_t now) {
  static uint32_t last = 0;
  static uint64_t upper = 0;
  if (now < last) upper += uint64_t{1} << 32;
  last = now;
  return upper + now;
}
#endif

#if defined(__arm__)

uint64_t machine_ns() {
  constexpr uintptr_t kFpgaCounter = 0x40028018;
  constexpr uint32_t kNsPerTick = 40;
  return extended(*reinterpret_cast<volatile uint32_t*>(kFpgaCounter)) * kNsPerTick;
}

#elif defined(__riscv)

uint64_t machine_ns() {
  uint32_t high = 0;
  uint32_t low = 0;
  uint32_t again = 0;
  do {
    asm volatile("rdinstreth %0\n rdinstret %1\n rdinstreth %2"
                 : "=r"(high), "=r"(low), "=r"(again));
  } while (high != again);
  return (uint64_t{high} << 32) | low;
}

#elif defined(__XTENSA__)

uint64_t machine_ns() {
  constexpr uint32_t kNsPerCycle = 25;
  uint32_t count = 0;
  asm volatile("rsr.ccount %0" : "=r"(count));
  return extended(count) * kNsPerCycle;
}

#endif

}  // namespace

uint64_t virtual_ns() { return machine_ns() - g_idle_ns; }

IdleScope::IdleScope() : began_ns_(machine_ns()) {}

IdleScope::~IdleScope() { g_idle_ns += machine_ns() - began_ns_; }

uint64_t QemuClock::now_us() { return virtual_ns() / 1000 + g_passed_us; }

void QemuClock::pass_us(uint64_t time_us) { g_passed_us += time_us; }

uint64_t instructions() { return machine_ns() / kNanosecondsPerInstruction; }

}  // namespace tbft
