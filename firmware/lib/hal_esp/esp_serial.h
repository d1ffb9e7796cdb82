// Sizes that both serial streams share, and why no byte is lost.
//
// The host sends one request at a time and waits for its answer (docs/protocol.md): that is the
// flow control, a window of one frame. What can be on its way while nobody reads is that frame, the
// copies of it that the host sends when no answer comes in time, and the Abort of a host that gives
// up. The dispatcher reads between two phases of the network at the latest, and the longest phases
// take seconds, not the half minute after which the host gives up; within that the host repeats a
// request at 2, 6, 11, 16, 21, 26 s (host/protocol/timing.py, COMPUTE): seven times the longest
// frame of 1,038 bytes with one 0x00 before each, and an Abort of 10, are 7,293 bytes. The ring
// holds them all; a test computes this from timing.py and frame.h.
//
// Between the UART's FIFO and the ring: 128 bytes arrive in 1.39 ms at 921,600 baud (10 bits a
// byte). The driver empties the FIFO at 120 bytes or after a pause, so that its interrupt has
// 8 · 10.85 µs = 87 µs to start; it runs from internal RAM (CONFIG_UART_ISR_IN_IRAM), also while
// the flash is being erased and code in flash cannot run. Where RTS is wired, the chip itself stops
// the host at kRtsThreshold bytes.
//
// USB needs none of this: a full endpoint is not acknowledged, and the host's controller repeats.
#pragma once

#include <freertos/FreeRTOS.h>

#include <cstddef>
#include <cstdint>

#include "hal/byte_stream.h"

namespace tbft {

constexpr size_t kEspReceiveRingBytes = 8192;
// A response waits here while the next phase already runs; the longest frame is 1,038 bytes.
constexpr size_t kEspSendRingBytes = 4096;
constexpr uint8_t kEspFifoFullThreshold = 120;
constexpr uint8_t kEspRtsThreshold = 100;
// How long a write may wait for room before the other side counts as gone.
constexpr uint32_t kEspWriteTimeoutMs = 2000;

inline TickType_t esp_ticks(uint32_t timeout_ms) {
  return timeout_ms == ByteStream::kForever ? portMAX_DELAY : pdMS_TO_TICKS(timeout_ms);
}

}  // namespace tbft
