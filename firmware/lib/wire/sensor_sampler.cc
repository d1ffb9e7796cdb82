#include "wire/sensor_sampler.h"

namespace tbft {
namespace wire {

SensorStatus SensorSampler::start(uint32_t number, uint32_t* period_us) {
  stop();
  CurrentSensor* sensor = sensors_[number];
  const SensorStatus status = sensor->start();
  if (status != SensorStatus::kOk) {
    return status;
  }
  if (*period_us < sensor->conversion_us()) {
    *period_us = sensor->conversion_us();
  }
  sensor_ = sensor;
  period_us_ = *period_us;
  due_us_ = clock_.now_us() + period_us_;
  head_.store(0, std::memory_order_relaxed);
  tail_.store(0, std::memory_order_relaxed);
  taken_.store(0, std::memory_order_relaxed);
  lost_.store(0, std::memory_order_relaxed);
  failure_.store(SensorStatus::kOk, std::memory_order_relaxed);
  running_.store(true, std::memory_order_seq_cst);
  return status;
}

void SensorSampler::stop() {
  running_.store(false, std::memory_order_seq_cst);
  // Each side writes its flag before it reads the other's: they cannot miss each other. A transfer
  // on the bus ends within a bounded time, and so does this.
  while (in_poll_.load(std::memory_order_seq_cst)) {
  }
}

void SensorSampler::poll() {
  in_poll_.store(true, std::memory_order_seq_cst);
  if (running_.load(std::memory_order_seq_cst)) {
    const uint64_t now_us = clock_.now_us();
    if (now_us >= due_us_) {
      sample(now_us);
    }
  }
  in_poll_.store(false, std::memory_order_seq_cst);
}

void SensorSampler::sample(uint64_t now_us) {
  CurrentReading reading;
  const SensorStatus status = sensor_->read(&reading);
  if (status == SensorStatus::kNotReady) {
    return;  // its own clock runs slower than ours: a little later
  }
  if (status != SensorStatus::kOk) {
    failure_.store(status, std::memory_order_release);
    running_.store(false, std::memory_order_release);
    return;
  }
  // Where sampling came late, the missed times are left out, not made up for.
  due_us_ += period_us_ * ((now_us - due_us_) / period_us_ + 1);
  taken_.store(taken_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  const uint32_t head = head_.load(std::memory_order_relaxed);
  if (next(head) == tail_.load(std::memory_order_acquire)) {
    lost_.store(lost_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    return;
  }
  CurrentRecord& record = ring_[head];
  record.clock_us = static_cast<uint32_t>(now_us);
  record.current_ua = reading.current_ua;
  record.voltage_uv = reading.voltage_uv;
  record.flags = reading.flags;
  head_.store(next(head), std::memory_order_release);
}

uint32_t SensorSampler::kept() const {
  const uint32_t head = head_.load(std::memory_order_acquire);
  const uint32_t tail = tail_.load(std::memory_order_relaxed);
  const auto size = static_cast<uint32_t>(ring_.size());
  return head >= tail ? head - tail : head + size - tail;
}

void SensorSampler::pop() {
  tail_.store(next(tail_.load(std::memory_order_relaxed)), std::memory_order_release);
}

}  // namespace wire
}  // namespace tbft
