#include "hal_qemu/uart_stream.h"

#include "hal_qemu/uart_registers.h"
#include "hal_qemu/virtual_time.h"

extern "C" {
tbft::ReceiveRing tbft_receive_ring;
}

namespace tbft {
namespace {

ReceiveRing& ring() { return tbft_receive_ring; }

bool nothing_there() { return ring().head == ring().tail; }

uint32_t after(uint32_t index) { return (index + 1) % kReceiveRingBytes; }

}  // namespace

// Xtensa's interrupt is in boards/lx7/start.S: a call from it would have to spill register windows.
#if !defined(__XTENSA__)
namespace {

// Whether the interrupt turned itself off, since the ring was full.
volatile bool g_held = false;

// With the interrupt masked, or from it. Registers are slow to ask: each time ends what QEMU has
// translated.
void drain() {
  while (uart::has_byte()) {
    const uint32_t head = ring().head;
    if (after(head) == ring().tail) {
      uart::enable_receive_interrupt(false);
      g_held = true;
      return;
    }
    ring().bytes[head] = uart::take_byte();
    ring().head = after(head);
    if (uart::kOneByte) return;  // the next one interrupts anew
  }
}

}  // namespace

extern "C" void tbft_uart_interrupt() {
  uart::Claim claim;
  drain();
}
#endif

UartStream::UartStream() {
  uart::start();
  uart::enable_receive_interrupt(true);
  uart::enable_interrupts();
}

// Takes up what had to wait while the ring was full: there is room again.
void UartStream::resume() {
#if defined(__XTENSA__)
  uart::enable_receive_interrupt(true);  // where it was on, nothing changes
#else
  if (!g_held) return;
  g_held = false;
  uart::mask_interrupts();
  uart::enable_receive_interrupt(true);
  drain();  // a CMSDK UART tells a byte when it arrives, and not again
  uart::unmask_interrupts();
#endif
}

int32_t UartStream::read(uint8_t* data, size_t capacity, uint32_t timeout_ms) {
  if (timeout_ms == kForever) {
    const IdleScope idle;
    uart::sleep_while(nothing_there);
  } else if (timeout_ms != 0 && nothing_there()) {
    QemuClock::pass_us(uint64_t{timeout_ms} * 1000);
  }
  size_t count = 0;
  uint32_t tail = ring().tail;
  for (; count < capacity && tail != ring().head; tail = after(tail)) {
    data[count] = ring().bytes[tail];
    ++count;
  }
  ring().tail = tail;
  if (count != 0) resume();
  return static_cast<int32_t>(count);
}

void UartStream::send(const uint8_t* data, size_t size) { uart::send(data, size); }

bool UartStream::write(const uint8_t* data, size_t size) {
  send(data, size);
  return true;
}

}  // namespace tbft
