// Bytes of the sample store: segment headers and records (docs/duty.md).
#pragma once

#include <cstdint>

#include "duty/schedule.h"

namespace tbft {
namespace duty {

constexpr uint32_t kSegmentHeaderBytes = 256;
constexpr uint32_t kRecordHeaderBytes = 64;
constexpr uint32_t kHashBytes = 8;

enum class RecordType : uint8_t {
  kSample = 1,     // a sample; its bytes follow
  kLabel = 2,      // the label of an earlier one
  kTuned = 3,      // fine-tuned; the weights are about to be committed
  kCommitted = 4,  // they were
  kStarted = 5,    // duty-cycled operation begins
};

// One record without its sample. Fields that a type does not use are 0.
struct Record {
  RecordType type = RecordType::kSample;
  uint8_t entry = 0;      // of the schedule: kSample, kTuned, kCommitted
  uint16_t label = 0;     // kLabel
  uint32_t sequence = 0;  // of the record, from 1
  uint32_t payload_bytes = 0;
  uint32_t payload_crc = 0;
  uint32_t time_s = 0;   // duty time
  uint32_t clock_s = 0;  // the board's clock at the same moment
  uint32_t id = 0;       // sample: kSample, kLabel
  uint32_t number = 0;   // kLabel: of the label, from 1; kTuned: highest label number used
  uint32_t wakes = 0;
  uint32_t due = 0;         // kSample, kTuned: time of the schedule that is done with this, plus 1
  uint32_t step = 0;        // kTuned
  uint16_t prediction = 0;  // kSample, kLabel
  uint16_t battery_mv = 0;  // 0 unknown
  uint8_t hash[kHashBytes] = {};  // kTuned: first bytes of the weight hash
  // Bit i: the latest time of entry i up to time_s is dealt with, also where nothing was done (too
  // few labels, quiet hours, battery, a failure), which leaves no record of its own.
  uint8_t settled = 0;
};
static_assert(kMaxEntries <= 8, "a bit for each entry");

// What the log up to some record says of the past. Every segment begins with it, so that erasing
// the oldest segment forgets samples and nothing else.
struct LogState {
  uint32_t next_id = 0;      // samples taken so far
  uint32_t labels = 0;       // labels so far, and the number of the last
  uint32_t right = 0;        // labelled samples whose prediction was the label
  uint32_t used_labels = 0;  // labels up to this number were used by committed fine-tunings
  uint32_t tunings = 0;      // committed
  uint32_t wakes = 0;
  uint32_t time_s = 0;
  uint32_t clock_s = 0;
  uint32_t done[kMaxEntries] = {};  // per entry: last time of the schedule that was done, plus 1
  uint8_t settled = 0;              // as in the last record
  // fine-tuned and not known to be committed; number 0: none
  uint32_t pending_number = 0;  // of kTuned
  uint32_t pending_step = 0;
  uint32_t pending_due = 0;
  uint8_t pending_entry = 0;
  uint8_t pending_hash[kHashBytes] = {};

  void apply(const Record& record);
};

struct SegmentHeader {
  uint32_t generation = 0;  // grows when the store is emptied
  uint32_t sequence = 0;    // grows with every segment
  uint32_t sample_bytes = 0;
  uint32_t segment_bytes = 0;
  uint32_t next_record = 0;
  LogState state;  // before the segment's first record
};

// `out` has kSegmentHeaderBytes, or kRecordHeaderBytes.
void encode_segment(const SegmentHeader& header, uint8_t* out);
void encode_record(const Record& record, uint8_t* out);
// False when the bytes are not whole: magic, version, CRC, ranges.
bool decode_segment(const uint8_t* bytes, SegmentHeader* header);
bool decode_record(const uint8_t* bytes, Record* record);
bool is_blank(const uint8_t* bytes, uint32_t size);

}  // namespace duty
}  // namespace tbft
