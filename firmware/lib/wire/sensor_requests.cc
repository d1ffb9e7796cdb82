// The requests about current sensors, and the notices with their readings.
#include <cstring>

#include "wire/dispatcher.h"

namespace tbft {
namespace wire {
namespace {

// Readings wait for each other at most this long, so that a notice is worth its frame.
constexpr uint64_t kReadingsEveryUs = 100'000;
constexpr uint32_t kPerNotice =
    (kBodyLimit - CurrentSamples::kFixedBytes) / CurrentRecord::kFixedBytes;

}  // namespace

void Dispatcher::run(const SensorListRequest&) {
  BodyWriter out = body();
  const uint32_t count = sensors_ != nullptr ? sensors_->sensors() : 0;
  for (uint32_t i = 0; i < count; ++i) {
    const CurrentSensor& sensor = sensors_->sensor(i);
    SensorRecord record;
    record.conversion_us = sensor.conversion_us();
    const size_t length = strlen(sensor.name());
    memcpy(record.name, sensor.name(), length < sizeof record.name ? length : sizeof record.name);
    (void)record.encode(out);
  }
  answer(SensorListResponse::kType, out);
}

void Dispatcher::run(const SensorStartRequest& request) {
  if (sensors_ == nullptr || request.sensor >= sensors_->sensors()) {
    const uint32_t count = sensors_ != nullptr ? sensors_->sensors() : 0;
    return answer_error(Outcome::of(WireStatus::kNoSensor, count));
  }
  uint32_t period_us = request.period_us;
  const SensorStatus status = sensors_->start(request.sensor, &period_us);
  if (status != SensorStatus::kOk) {
    Outcome outcome = Outcome::of(WireStatus::kSensorFailed, static_cast<uint32_t>(status));
    outcome.text = to_string(status);
    return answer_error(outcome);
  }
  sensor_number_ = 0;
  sensor_failed_ = false;
  sensor_sent_us_ = clock_.now_us();
  SensorStartResponse response;
  response.period_us = period_us;
  answer(response);
}

void Dispatcher::run(const SensorStopRequest&) {
  SensorStopResponse response;
  if (sensors_ != nullptr) {
    sensors_->stop();
    send_readings(true);
    response.taken = sensors_->taken();
    response.lost = sensors_->lost();
  }
  answer(response);
}

// Takes a reading where the dispatcher has to, and sends what is kept: all of it, or when it fills
// a notice or has waited long enough.
void Dispatcher::serve_sensors() {
  if (sensors_ == nullptr) {
    return;
  }
  if (!sensors_->own_thread()) {
    sensors_->poll();
  }
  send_readings(false);
}

void Dispatcher::send_readings(bool all) {
  const bool waited = clock_.now_us() - sensor_sent_us_ >= kReadingsEveryUs;
  const SensorStatus failure = sensors_->failure();
  const bool failed = failure != SensorStatus::kOk;
  // No more than there is now: a sampler with a thread of its own may fill it as fast as a port
  // that nobody reads takes it.
  uint32_t left = sensors_->kept();
  while (left >= (all || waited || failed ? 1 : kPerNotice)) {
    BodyWriter out({notice_ + kFrameHeaderBytes, kBodyLimit});
    out.u32(sensor_number_);
    out.u32(sensors_->lost());
    for (uint32_t i = 0; i < kPerNotice && left != 0; ++i, --left) {
      (void)sensors_->oldest().encode(out);
      sensors_->pop();
      ++sensor_number_;
    }
    send({notice_, finish_payload(CurrentSamples::kType, sequence_, out.size(), notice_)});
    sensor_sent_us_ = clock_.now_us();
  }
  if (failed && !sensor_failed_) {
    sensor_failed_ = true;
    log(LogLevel::kError, to_string(failure));
  }
}

}  // namespace wire
}  // namespace tbft
