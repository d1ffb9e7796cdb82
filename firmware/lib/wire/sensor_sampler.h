// Reads a current sensor at regular times, stamps the readings with the board's clock, and keeps
// them until they are sent.
//
// Two sides, which may run at once on two threads or cores: whoever samples calls poll() as often
// as it can (a task of its own, or the dispatcher between two phases); the dispatcher calls the
// rest.
#pragma once

#include <atomic>
#include <cstdint>

#include "hal/clock.h"
#include "hal/current_sensor.h"
#include "runtime/span.h"
#include "wire/messages.h"

namespace tbft {
namespace wire {

class SensorSampler {
 public:
  // `ring` keeps ring.size() − 1 samples; at least 2. With `own_thread`, poll() is called by
  // somebody else than the dispatcher.
  SensorSampler(Clock& clock, Span<CurrentSensor* const> sensors, Span<CurrentRecord> ring,
                bool own_thread = false)
      : clock_(clock), sensors_(sensors), ring_(ring), own_thread_(own_thread) {}

  uint32_t sensors() const { return static_cast<uint32_t>(sensors_.size()); }
  // number < sensors()
  const CurrentSensor& sensor(uint32_t number) const { return *sensors_[number]; }
  bool own_thread() const { return own_thread_; }
  bool running() const { return running_.load(std::memory_order_acquire); }

  // Starts a sensor, number < sensors(), and forgets what was kept; a reading at most every
  // `*period_us`, which is raised to what the sensor can do.
  SensorStatus start(uint32_t number, uint32_t* period_us);
  // Ends sampling; what is kept stays. Waits for a reading in progress.
  void stop();
  // Why sampling ended by itself since the last start; kOk where it did not.
  SensorStatus failure() const { return failure_.load(std::memory_order_acquire); }

  // Takes one reading if it is time.
  void poll();

  // Samples kept, and the oldest of them; pop() frees it.
  uint32_t kept() const;
  const CurrentRecord& oldest() const { return ring_[tail_.load(std::memory_order_relaxed)]; }
  void pop();
  // Samples taken since the start, and how many of them found no room.
  uint32_t taken() const { return taken_.load(std::memory_order_acquire); }
  uint32_t lost() const { return lost_.load(std::memory_order_acquire); }

 private:
  uint32_t next(uint32_t index) const { return index + 1 == ring_.size() ? 0 : index + 1; }
  void sample(uint64_t now_us);

  Clock& clock_;
  Span<CurrentSensor* const> sensors_;
  Span<CurrentRecord> ring_;
  const bool own_thread_;
  CurrentSensor* sensor_ = nullptr;
  uint64_t period_us_ = 0;
  uint64_t due_us_ = 0;
  std::atomic<bool> running_{false};
  std::atomic<bool> in_poll_{false};
  std::atomic<SensorStatus> failure_{SensorStatus::kOk};
  std::atomic<uint32_t> head_{0};  // where the next sample goes
  std::atomic<uint32_t> tail_{0};
  std::atomic<uint32_t> taken_{0};
  std::atomic<uint32_t> lost_{0};
};

}  // namespace wire
}  // namespace tbft
