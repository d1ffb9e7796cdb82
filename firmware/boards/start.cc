// From the first C++ instruction to main, the same on all emulated boards; the assembly of each
// board sets up the stack and comes here.
#include "linker_symbols.h"

#include <cstdint>
#include <cstring>

#include "fault.h"
#include "hal_qemu/semihosting.h"
#include "hal_qemu/stack_usage.h"

using Initializer = void (*)();

extern "C" {
extern const Initializer tbft_init_array_start[];
extern const Initializer tbft_init_array_end[];

int main();

[[noreturn]] void tbft_start() {
  memcpy(tbft_data_start, tbft_data_image, static_cast<size_t>(tbft_data_end - tbft_data_start));
  memset(tbft_bss_start, 0, static_cast<size_t>(tbft_bss_end - tbft_bss_start));
  tbft::paint_stack();
  for (const Initializer* f = tbft_init_array_start; f != tbft_init_array_end; ++f) (*f)();
  tbft::semihosting::exit(main());
}

// A call of a pure virtual function, which only a fault of the program can make.
[[noreturn]] void __cxa_pure_virtual() { tbft_fault("pure virtual function called", 0, 0); }

// Where the program has no better way to tell (firmware/app/main_qemu.cc has).
[[noreturn]] __attribute__((weak)) void tbft_fault(const char* what, uint32_t pc,
                                                   uint32_t address) {
  char text[kFaultTextBytes];
  tbft::semihosting::print(tbft_fault_text(what, pc, address, text));
  tbft::semihosting::print("\n");
  tbft::semihosting::exit(kFaultStatus);
}

const char* tbft_fault_text(const char* what, uint32_t pc, uint32_t address,
                            char text[kFaultTextBytes]) {
  constexpr size_t kNumberBytes = 10;  // 0x and eight digits
  constexpr char kAt[] = " at instruction ";
  constexpr char kAddress[] = ", address ";
  constexpr size_t kRoom =
      kFaultTextBytes - (sizeof kAt - 1) - (sizeof kAddress - 1) - 2 * kNumberBytes - 1;
  char* out = text;
  const auto put = [&out](const char* s, size_t limit) {
    for (; *s != '\0' && limit != 0; --limit) *out++ = *s++;
  };
  const auto put_number = [&](uint32_t value) {
    put("0x", 2);
    for (int shift = 28; shift >= 0; shift -= 4) *out++ = "0123456789abcdef"[(value >> shift) & 15];
  };
  put(what, kRoom);
  put(kAt, sizeof kAt);
  put_number(pc);
  put(kAddress, sizeof kAddress);
  put_number(address);
  *out = '\0';
  return text;
}
}
