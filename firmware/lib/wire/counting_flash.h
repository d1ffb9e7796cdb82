// Flash that tells the event recorder how much was programmed.
#pragma once

#include "hal/flash.h"
#include "wire/event_recorder.h"

namespace tbft {
namespace wire {

class CountingFlash final : public Flash {
 public:
  CountingFlash(Flash& flash, EventRecorder& events) : flash_(flash), events_(events) {}

  uint32_t size_bytes() const override { return flash_.size_bytes(); }
  uint32_t erase_bytes() const override { return flash_.erase_bytes(); }
  uint32_t program_bytes() const override { return flash_.program_bytes(); }
  bool erase(uint32_t offset, uint32_t size) override { return flash_.erase(offset, size); }
  bool program(uint32_t offset, const uint8_t* data, uint32_t size) override {
    events_.add_flash_bytes(size);
    return flash_.program(offset, data, size);
  }
  bool read(uint32_t offset, uint8_t* data, uint32_t size) override {
    return flash_.read(offset, data, size);
  }

 private:
  Flash& flash_;
  EventRecorder& events_;
};

}  // namespace wire
}  // namespace tbft
