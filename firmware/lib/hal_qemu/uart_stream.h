// The board's serial port: what arrives, the interrupt puts into a ring; sending waits for the
// hardware.
//
// No byte is lost: when the ring is full, the interrupt is turned off and the bytes wait in the
// UART, which takes no more from the emulator's side than it has room for (a board with pins would
// take RTS away there). The ring has room for two of the longest frames and more, and the host
// sends one request at a time, so this comes to pass only when a host does not keep to the
// protocol.
#pragma once

#include <cstddef>
#include <cstdint>

#include "hal/byte_stream.h"
#include "hal_qemu/receive_ring_size.h"

namespace tbft {

constexpr uint32_t kReceiveRingBytes = 1U << TBFT_RECEIVE_RING_BITS;

// Written by the interrupt (head, bytes) and the reader (tail); empty where head == tail, so one
// byte less than its size goes in. Xtensa's interrupt (boards/lx7/start.S) knows this layout.
struct ReceiveRing {
  volatile uint32_t head;
  volatile uint32_t tail;
  volatile uint8_t bytes[kReceiveRingBytes];
};

class UartStream final : public ByteStream {
 public:
  // Turns UART and interrupt on. There is one UART: make one of these.
  UartStream();

  // With kForever sleeps until a byte comes; time stands still meanwhile (virtual_time.h). A
  // shorter wait passes at once, and the board's clock with it, where nothing has come.
  int32_t read(uint8_t* data, size_t capacity, uint32_t timeout_ms) override;
  bool write(const uint8_t* data, size_t size) override;

  // Sends without the object, from a fault handler say: the UART must be on.
  static void send(const uint8_t* data, size_t size);

 private:
  static void resume();
};

}  // namespace tbft
