#include "hal_qemu/stack_usage.h"

extern "C" {
extern uint32_t tbft_stack_bottom[];  // firmware/boards/linker_symbols.h
extern uint32_t tbft_stack_top[];
}

namespace tbft {
namespace {

constexpr uint32_t kPaint = 0x5aa55aa5;
// What this function and its callers have in use, and what Xtensa saves below the stack pointer.
constexpr uintptr_t kSpareBytes = 512;

}  // namespace

void paint_stack() {
  const uintptr_t end = reinterpret_cast<uintptr_t>(__builtin_frame_address(0)) - kSpareBytes;
  volatile uint32_t* p = tbft_stack_bottom;
  for (; reinterpret_cast<uintptr_t>(p) < end; ++p) *p = kPaint;
}

uint32_t stack_bytes() {
  return static_cast<uint32_t>(tbft_stack_top - tbft_stack_bottom) * sizeof(uint32_t);
}

uint32_t stack_used_bytes() {
  const uint32_t* p = tbft_stack_bottom;
  while (p < tbft_stack_top && *p == kPaint) ++p;
  return static_cast<uint32_t>(tbft_stack_top - p) * sizeof(uint32_t);
}

}  // namespace tbft
