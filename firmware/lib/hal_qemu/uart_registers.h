// UART0 and its interrupt, on each of the emulated machines.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tbft {
namespace uart {

inline volatile uint32_t& word_at(uintptr_t address) {
  return *reinterpret_cast<volatile uint32_t*>(address);
}

#if defined(__arm__)

// CMSDK APB UART of the MPS2 boards: one byte each way; QEMU gives the next one when the last was
// read.
constexpr uintptr_t kBase = 0x40004000;
constexpr uintptr_t kData = kBase + 0x0;
constexpr uintptr_t kState = kBase + 0x4;  // bit 0 transmitter full, bit 1 receiver full
constexpr uintptr_t kControl = kBase + 0x8;
constexpr uintptr_t kInterrupt = kBase + 0xc;  // bit 1 receive; a 1 written clears
constexpr uintptr_t kDivider = kBase + 0x10;
constexpr uint32_t kMinimumDivider = 16;  // the fastest: QEMU does not wait for bits
constexpr uint32_t kTransmit = 1;
constexpr uint32_t kReceive = 2;
constexpr uint32_t kReceiveInterrupt = 8;
constexpr bool kOneByte = true;                // is all that it holds
constexpr uintptr_t kNvicEnable = 0xe000e100;  // interrupt 0: UART0 has received

inline void start() {
  word_at(kDivider) = kMinimumDivider;
  word_at(kControl) = kTransmit | kReceive;
}
inline bool has_byte() { return (word_at(kState) & kReceive) != 0; }
inline uint8_t take_byte() { return static_cast<uint8_t>(word_at(kData)); }
inline void enable_receive_interrupt(bool on) {
  word_at(kControl) = kTransmit | kReceive | (on ? kReceiveInterrupt : 0);
}
inline void mask_interrupts() { asm volatile("cpsid i" ::: "memory"); }
inline void unmask_interrupts() { asm volatile("cpsie i" ::: "memory"); }
inline void enable_interrupts() {
  word_at(kNvicEnable) = 1;
  unmask_interrupts();
}
struct Claim {
  Claim() { word_at(kInterrupt) = kReceive; }
};
// With interrupts masked WFI still ends when one is pending: nothing is missed between look and
// sleep.
template <typename Condition>
void sleep_while(Condition condition) {
  mask_interrupts();
  while (condition()) {
    asm volatile("wfi\n cpsie i\n isb\n cpsid i" ::: "memory");
  }
  unmask_interrupts();
}
inline void send(const uint8_t* data, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    while ((word_at(kState) & kTransmit) != 0) {
    }
    word_at(kData) = data[i];
  }
}

#else  // 16550

#if defined(__riscv)
using Register = volatile uint8_t;
constexpr uintptr_t kBase = 0x10000000;
#else
using Register = volatile uint32_t;
constexpr uintptr_t kBase = 0xfd050020;
#endif

inline Register& reg(uintptr_t index) {
  return *reinterpret_cast<Register*>(kBase + index * sizeof(Register));
}
constexpr uintptr_t kData = 0;
constexpr uintptr_t kInterruptEnable = 1;
constexpr uintptr_t kFifoControl = 2;
constexpr uintptr_t kLineControl = 3;
constexpr uintptr_t kLineStatus = 5;
constexpr size_t kFifoBytes = 16;
constexpr bool kOneByte = false;

inline void start() {
  // The fastest rate. QEMU does not wait for bits, but for the pause after which fewer bytes than
  // the FIFO's level are told.
  reg(kLineControl) = 0x80;  // the next two are the divider
  reg(kData) = 1;
  reg(kInterruptEnable) = 0;
  reg(kLineControl) = 3;  // eight bits
  reg(kFifoControl) =
      0xc0 | 0x7;  // cleared and on; told at 14 of 16 bytes: QEMU gives so many at once
}
inline bool has_byte() { return (reg(kLineStatus) & 1) != 0; }
inline uint8_t take_byte() { return static_cast<uint8_t>(reg(kData)); }
inline void enable_receive_interrupt(bool on) { reg(kInterruptEnable) = on ? 1 : 0; }
inline void send(const uint8_t* data, size_t size) {
  while (size != 0) {
    while ((reg(kLineStatus) & 0x20) == 0) {
    }
    size_t now = size < kFifoBytes ? size : kFifoBytes;  // the FIFO is empty
    size -= now;
    for (; now != 0; --now) {
      reg(kData) = *data;
      ++data;
    }
  }
}

#if defined(__riscv)

constexpr uintptr_t kPlic = 0x0c000000;
constexpr uint32_t kUartSource = 10;
constexpr uintptr_t kPriority = kPlic + 4 * kUartSource;
constexpr uintptr_t kEnable = kPlic + 0x2000;  // of hart 0 in machine mode
constexpr uintptr_t kThreshold = kPlic + 0x200000;
constexpr uintptr_t kClaim = kPlic + 0x200004;
constexpr uint32_t kMachineExternal = 1U << 11;   // in mie
constexpr uint32_t kMachineInterrupts = 1U << 3;  // in mstatus

inline void mask_interrupts() {
  asm volatile("csrc mstatus, %0" ::"r"(kMachineInterrupts) : "memory");
}
inline void unmask_interrupts() {
  asm volatile("csrs mstatus, %0" ::"r"(kMachineInterrupts) : "memory");
}
inline void enable_interrupts() {
  word_at(kPriority) = 1;
  word_at(kEnable) = 1U << kUartSource;
  word_at(kThreshold) = 0;
  asm volatile("csrs mie, %0\n csrs mstatus, %1" ::"r"(kMachineExternal), "r"(kMachineInterrupts)
               : "memory");
}
struct Claim {
  Claim() : source(word_at(kClaim)) {}
  ~Claim() { word_at(kClaim) = source; }
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;
  uint32_t source;
};
template <typename Condition>
void sleep_while(Condition condition) {
  mask_interrupts();
  while (condition()) {
    asm volatile("wfi\n csrs mstatus, %0\n csrc mstatus, %0" ::"r"(kMachineInterrupts) : "memory");
  }
  unmask_interrupts();
}

#else  // Xtensa

constexpr uint32_t kUartInterrupt = 1U << 0;  // external interrupt 0, level 1

inline void enable_interrupts() { asm volatile("wsr %0, intenable\n rsync" ::"r"(kUartInterrupt)); }
// WAITI lowers the level and sleeps in one step.
template <typename Condition>
void sleep_while(Condition condition) {
  uint32_t level = 0;
  asm volatile("rsil %0, 15" : "=r"(level)::"memory");
  while (condition()) {
    asm volatile("waiti 0\n rsil %0, 15" : "=r"(level)::"memory");
  }
  asm volatile("rsil %0, 0" : "=r"(level)::"memory");
}

#endif
#endif

}  // namespace uart
}  // namespace tbft
