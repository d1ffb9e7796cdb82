#include "duty/schedule.h"

#include "runtime/bytes.h"

namespace tbft {
namespace duty {
namespace {

constexpr uint32_t kMinutesPerDay = 24 * 60;
constexpr uint32_t kMaxEpochs = 1000;
constexpr uint32_t kMaxBatch = 4096;
constexpr uint32_t kMaxPercent = 100;
// Dividing by a batch must not leave the engine's range of +-1024.
constexpr int32_t kMaxRateExponent = 1000;

bool rate_valid(LearningRate rate) {
  return rate.mantissa >= (1U << 30) && rate.mantissa < (1U << 31) &&
         rate.exponent >= -kMaxRateExponent && rate.exponent <= kMaxRateExponent;
}

bool training_fields_empty(const Entry& e) {
  return e.min_labelled == 0 && e.max_samples == 0 && e.rehearse == 0 && e.epochs == 0 &&
         e.batch == 0 && e.rate.mantissa == 0 && e.rate.exponent == 0;
}

Status check(const Entry& e, uint32_t number) {
  if (e.period_s == 0 || e.period_s > kMaxPeriodS || e.first_s > kMaxPeriodS) {
    return {StatusCode::kSchedulePeriod, number};
  }
  if (e.quiet_from_min >= kMinutesPerDay || e.quiet_to_min >= kMinutesPerDay) {
    return {StatusCode::kScheduleHours, number};
  }
  if (e.min_battery_percent > kMaxPercent) return {StatusCode::kScheduleBattery, number};
  if (e.action == Action::kSample) {
    return training_fields_empty(e) ? Status() : Status(StatusCode::kScheduleTraining, number);
  }
  if (e.min_labelled == 0 || e.max_samples < e.min_labelled || e.epochs == 0 ||
      e.epochs > kMaxEpochs || e.batch == 0 || e.batch > kMaxBatch) {
    return {StatusCode::kScheduleTraining, number};
  }
  return rate_valid(e.rate) ? Status() : Status(StatusCode::kScheduleRate, number);
}

Status parse_entry(const uint8_t* p, uint32_t number, Entry* e) {
  if (p[0] != static_cast<uint8_t>(Action::kSample) &&
      p[0] != static_cast<uint8_t>(Action::kTune)) {
    return {StatusCode::kScheduleAction, number};
  }
  // Reserved fields are 0, so that they can come to mean something.
  if (p[1] != static_cast<uint8_t>(ConditionKind::kNone) || p[3] != 0 || load_u16(p + 34) != 0 ||
      load_u32(p + 36) != 0) {
    return {StatusCode::kScheduleCondition, number};
  }
  e->action = static_cast<Action>(p[0]);
  e->condition = static_cast<ConditionKind>(p[1]);
  e->min_battery_percent = p[2];
  e->period_s = load_u32(p + 4);
  e->first_s = load_u32(p + 8);
  e->quiet_from_min = static_cast<uint16_t>(load_u16(p + 12));
  e->quiet_to_min = static_cast<uint16_t>(load_u16(p + 14));
  e->min_battery_mv = static_cast<uint16_t>(load_u16(p + 16));
  e->min_labelled = static_cast<uint16_t>(load_u16(p + 18));
  e->max_samples = static_cast<uint16_t>(load_u16(p + 20));
  e->rehearse = static_cast<uint16_t>(load_u16(p + 22));
  e->epochs = static_cast<uint16_t>(load_u16(p + 24));
  e->batch = static_cast<uint16_t>(load_u16(p + 26));
  e->rate.mantissa = load_u32(p + 28);
  e->rate.exponent = load_i16(p + 32);
  return check(*e, number);
}

// Every bit of the result depends on every bit of x.
uint32_t mix(uint32_t x) {
  x ^= x >> 16;
  x *= 0x85ebca6bU;
  x ^= x >> 13;
  x *= 0xc2b2ae35U;
  return x ^ (x >> 16);
}

}  // namespace

Status parse_entries(Span<const uint8_t> bytes, Schedule* schedule) {
  const size_t count = bytes.size() / kEntryBytes;
  if (bytes.size() % kEntryBytes != 0 || count == 0 || count > kMaxEntries) {
    return {StatusCode::kScheduleSize, kMaxEntries};
  }
  Schedule found;
  found.listen_ms = schedule->listen_ms;
  found.count = static_cast<uint32_t>(count);
  for (uint32_t i = 0; i < found.count; ++i) {
    const Status status = parse_entry(bytes.data() + size_t{i} * kEntryBytes, i, &found.entries[i]);
    if (!status.ok()) return status;
  }
  *schedule = found;
  return {};
}

void write_entries(const Schedule& schedule, uint8_t* out) {
  for (uint32_t i = 0; i < schedule.count; ++i, out += kEntryBytes) {
    const Entry& e = schedule.entries[i];
    out[0] = static_cast<uint8_t>(e.action);
    out[1] = static_cast<uint8_t>(e.condition);
    out[2] = e.min_battery_percent;
    out[3] = 0;
    store_u32(out + 4, e.period_s);
    store_u32(out + 8, e.first_s);
    store_u16(out + 12, e.quiet_from_min);
    store_u16(out + 14, e.quiet_to_min);
    store_u16(out + 16, e.min_battery_mv);
    store_u16(out + 18, e.min_labelled);
    store_u16(out + 20, e.max_samples);
    store_u16(out + 22, e.rehearse);
    store_u16(out + 24, e.epochs);
    store_u16(out + 26, e.batch);
    store_u32(out + 28, e.rate.mantissa);
    store_u16(out + 32, static_cast<uint32_t>(e.rate.exponent));
    store_u16(out + 34, 0);
    store_u32(out + 36, 0);
  }
}

bool is_quiet(const Entry& entry, uint32_t time_s) {
  const uint32_t minute = time_s / 60 % kMinutesPerDay;
  const uint32_t from = entry.quiet_from_min;
  const uint32_t to = entry.quiet_to_min;
  if (from <= to) return minute >= from && minute < to;
  return minute >= from || minute < to;
}

LearningRate divided(LearningRate rate, uint32_t samples) {
  // At least 2^30 · 2^32 / 4096: never below 2^31, so that bits are dropped and none made up.
  const uint64_t quotient = (uint64_t{rate.mantissa} << 32) / samples;
  uint32_t drop = 0;
  while ((quotient >> drop) >= (uint64_t{1} << 31)) ++drop;
  uint64_t mantissa = (quotient + (uint64_t{1} << (drop - 1))) >> drop;
  int32_t exponent = rate.exponent - 32 + static_cast<int32_t>(drop);
  if (mantissa == (uint64_t{1} << 31)) {
    mantissa >>= 1;
    ++exponent;
  }
  return {static_cast<uint32_t>(mantissa), exponent};
}

uint32_t shuffle_key(uint32_t seed, uint32_t tuning, uint32_t epoch) {
  return mix(mix(mix(seed + 0x9e3779b9U) + tuning) + epoch);
}

uint32_t shuffle_place(uint32_t key, uint32_t top) {
  return static_cast<uint32_t>((uint64_t{mix(key + top)} * (uint64_t{top} + 1)) >> 32);
}

}  // namespace duty
}  // namespace tbft
