#include "duty/store_format.h"

#include <cstring>

#include "runtime/bytes.h"
#include "runtime/crc32.h"

namespace tbft {
namespace duty {
namespace {

constexpr uint8_t kMagic[4] = {'T', 'B', 'F', 'S'};
constexpr uint32_t kVersion = 1;
constexpr uint32_t kSegmentCrcAt = kSegmentHeaderBytes - 4;
constexpr uint32_t kRecordCrcAt = kRecordHeaderBytes - 4;
constexpr uint32_t kStateAt = 32;
constexpr uint32_t kDoneAt = kStateAt + 32;
constexpr uint32_t kPendingAt = kDoneAt + 4 * kMaxEntries;

// No flash lives to count so far, and what counts on from here must not wrap.
constexpr uint32_t kHighestCount = 0xffff0000U;

static_assert(kPendingAt + 24 <= kSegmentCrcAt, "the state fits a header");

}  // namespace

void LogState::apply(const Record& record) {
  time_s = record.time_s;
  clock_s = record.clock_s;
  wakes = record.wakes;
  settled = record.settled;
  switch (record.type) {
    case RecordType::kSample:
      next_id = record.id + 1;
      done[record.entry] = record.due;
      break;
    case RecordType::kLabel:
      labels = record.number;
      right += record.prediction == record.label ? 1 : 0;
      break;
    case RecordType::kTuned:
      pending_number = record.number;
      pending_step = record.step;
      pending_due = record.due;
      pending_entry = record.entry;
      memcpy(pending_hash, record.hash, sizeof pending_hash);
      break;
    case RecordType::kCommitted:
      if (pending_number == 0) break;
      used_labels = pending_number;
      done[pending_entry] = pending_due;
      pending_number = 0;
      ++tunings;
      break;
    case RecordType::kStarted:
      memset(done, 0, sizeof done);
      settled = 0;
      pending_number = 0;
      break;
  }
}

void encode_segment(const SegmentHeader& header, uint8_t* out) {
  memset(out, 0, kSegmentHeaderBytes);
  memcpy(out, kMagic, sizeof kMagic);
  store_u16(out + 4, kVersion);
  store_u16(out + 6, kSegmentHeaderBytes);
  store_u32(out + 8, header.generation);
  store_u32(out + 12, header.sequence);
  store_u32(out + 16, header.sample_bytes);
  store_u32(out + 20, header.segment_bytes);
  store_u32(out + 24, header.next_record);
  const LogState& s = header.state;
  const uint32_t numbers[] = {s.next_id, s.labels, s.right,  s.used_labels,
                              s.tunings, s.wakes,  s.time_s, s.clock_s};
  uint8_t* p = out + kStateAt;
  for (const uint32_t number : numbers) {
    store_u32(p, number);
    p += 4;
  }
  for (uint32_t i = 0; i < kMaxEntries; ++i) store_u32(out + kDoneAt + 4 * i, s.done[i]);
  store_u32(out + kPendingAt, s.pending_number);
  store_u32(out + kPendingAt + 4, s.pending_step);
  store_u32(out + kPendingAt + 8, s.pending_due);
  out[kPendingAt + 12] = s.pending_entry;
  out[kPendingAt + 13] = s.settled;
  memcpy(out + kPendingAt + 16, s.pending_hash, kHashBytes);
  store_u32(out + kSegmentCrcAt, crc32(0, out, kSegmentCrcAt));
}

bool decode_segment(const uint8_t* bytes, SegmentHeader* header) {
  if (memcmp(bytes, kMagic, sizeof kMagic) != 0 || load_u16(bytes + 4) != kVersion ||
      load_u16(bytes + 6) != kSegmentHeaderBytes ||
      load_u32(bytes + kSegmentCrcAt) != crc32(0, bytes, kSegmentCrcAt) ||
      bytes[kPendingAt + 12] >= kMaxEntries || load_u32(bytes + 8) > kHighestCount ||
      load_u32(bytes + 12) > kHighestCount) {
    return false;
  }
  header->generation = load_u32(bytes + 8);
  header->sequence = load_u32(bytes + 12);
  header->sample_bytes = load_u32(bytes + 16);
  header->segment_bytes = load_u32(bytes + 20);
  header->next_record = load_u32(bytes + 24);
  LogState& s = header->state;
  uint32_t* const numbers[] = {&s.next_id, &s.labels, &s.right,  &s.used_labels,
                               &s.tunings, &s.wakes,  &s.time_s, &s.clock_s};
  const uint8_t* p = bytes + kStateAt;
  for (uint32_t* number : numbers) {
    *number = load_u32(p);
    p += 4;
  }
  for (uint32_t i = 0; i < kMaxEntries; ++i) s.done[i] = load_u32(bytes + kDoneAt + 4 * i);
  s.pending_number = load_u32(bytes + kPendingAt);
  s.pending_step = load_u32(bytes + kPendingAt + 4);
  s.pending_due = load_u32(bytes + kPendingAt + 8);
  s.pending_entry = bytes[kPendingAt + 12];
  s.settled = bytes[kPendingAt + 13];
  memcpy(s.pending_hash, bytes + kPendingAt + 16, kHashBytes);
  return true;
}

void encode_record(const Record& record, uint8_t* out) {
  memset(out, 0, kRecordHeaderBytes);
  out[0] = static_cast<uint8_t>(record.type);
  out[1] = record.entry;
  store_u16(out + 2, record.label);
  store_u32(out + 4, record.sequence);
  store_u32(out + 8, record.payload_bytes);
  store_u32(out + 12, record.payload_crc);
  store_u32(out + 16, record.time_s);
  store_u32(out + 20, record.clock_s);
  store_u32(out + 24, record.id);
  store_u32(out + 28, record.number);
  store_u32(out + 32, record.wakes);
  store_u32(out + 36, record.due);
  store_u32(out + 40, record.step);
  store_u16(out + 44, record.prediction);
  store_u16(out + 46, record.battery_mv);
  memcpy(out + 48, record.hash, kHashBytes);
  out[56] = record.settled;
  store_u32(out + kRecordCrcAt, crc32(0, out, kRecordCrcAt));
}

bool decode_record(const uint8_t* bytes, Record* record) {
  if (bytes[0] < static_cast<uint8_t>(RecordType::kSample) ||
      bytes[0] > static_cast<uint8_t>(RecordType::kStarted) || bytes[1] >= kMaxEntries ||
      load_u32(bytes + kRecordCrcAt) != crc32(0, bytes, kRecordCrcAt)) {
    return false;
  }
  record->type = static_cast<RecordType>(bytes[0]);
  record->entry = bytes[1];
  record->label = static_cast<uint16_t>(load_u16(bytes + 2));
  record->sequence = load_u32(bytes + 4);
  record->payload_bytes = load_u32(bytes + 8);
  record->payload_crc = load_u32(bytes + 12);
  record->time_s = load_u32(bytes + 16);
  record->clock_s = load_u32(bytes + 20);
  record->id = load_u32(bytes + 24);
  record->number = load_u32(bytes + 28);
  record->wakes = load_u32(bytes + 32);
  record->due = load_u32(bytes + 36);
  record->step = load_u32(bytes + 40);
  record->prediction = static_cast<uint16_t>(load_u16(bytes + 44));
  record->battery_mv = static_cast<uint16_t>(load_u16(bytes + 46));
  memcpy(record->hash, bytes + 48, kHashBytes);
  record->settled = bytes[56];
  return true;
}

bool is_blank(const uint8_t* bytes, uint32_t size) {
  for (uint32_t i = 0; i < size; ++i) {
    if (bytes[i] != 0xff) return false;
  }
  return true;
}

}  // namespace duty
}  // namespace tbft
