// Samples, their labels and what was done with them: an append-only log in flash, in segments of
// erase blocks that are used in turn (docs/duty.md). A reset at any moment loses at most the record
// being written.
#pragma once

#include <cstdint>

#include "duty/store_format.h"
#include "hal/flash.h"
#include "runtime/span.h"
#include "runtime/status.h"

namespace tbft {
namespace duty {

// One stored sample, in the order of their ids.
struct StoredSample {
  uint32_t id = 0;
  uint32_t offset = 0;  // of its bytes in the flash area
  uint32_t bytes_crc = 0;
  uint32_t taken_s = 0;
  uint32_t label_number = 0;  // 0: not labelled
  uint16_t label = 0;
  uint16_t prediction = 0;
};

class SampleStore {
 public:
  // `index` holds what is known of at most index.size() samples; beyond that the oldest are
  // forgotten.
  SampleStore(Flash* flash, Span<StoredSample> index) : flash_(flash), index_(index) {}

  // Reads the log. kStoreForeign when it is of samples of another size: format() then.
  Status open(uint32_t sample_bytes);
  // Forgets everything, at once: a power cut leaves the store as it was or empty.
  Status format(uint32_t sample_bytes);
  bool opened() const { return opened_; }
  uint32_t sample_bytes() const { return sample_bytes_; }

  const LogState& state() const { return state_; }
  // Stored samples, oldest first.
  uint32_t count() const { return count_; }
  const StoredSample& sample(uint32_t i) const { return index_[(head_ + i) % index_.size()]; }
  // nullptr when it is not stored (any more).
  const StoredSample* find(uint32_t id) const;
  // Samples that are stored at least before the oldest are overwritten.
  uint32_t capacity() const;
  // Segments and records that could not be read, or were cut off, when the log was read.
  uint32_t damaged() const { return damaged_; }

  // Appends a record; its sequence and payload fields are filled in. For kSample `payload` is the
  // sample, else empty. kLabel needs a stored sample without label.
  Status append(Record record, Span<const int8_t> payload);
  // The sample's bytes; kStoreDamaged when their CRC does not fit.
  Status read(const StoredSample& sample, Span<int8_t> out);

 private:
  static constexpr uint32_t kNoSegment = UINT32_MAX;

  bool choose_segments(uint32_t sample_bytes);
  uint32_t padded(uint32_t bytes) const;
  uint32_t record_bytes(uint32_t payload) const {
    return padded(kRecordHeaderBytes) + padded(payload);
  }
  bool read_header(uint32_t offset, SegmentHeader* header, bool* readable);
  bool same_store(const SegmentHeader& header) const;
  bool find_newest(SegmentHeader* newest, uint32_t* offset);
  void scan(uint32_t segment, bool newest);
  bool blank(uint32_t offset, uint32_t end);
  void note(const Record& record, uint32_t offset);
  void drop_segment(uint32_t segment);
  StoredSample* lookup(uint32_t id);

  Status open_segment(uint32_t segment, const LogState& state);
  Status open_next();
  Status write_record(Record* record, Span<const int8_t> payload);
  Status write_payload(uint32_t offset, Record* record, Span<const int8_t> payload);
  Status payload_crc(uint32_t offset, uint32_t bytes, uint32_t* crc);

  Flash* flash_;
  Span<StoredSample> index_;
  uint32_t head_ = 0;
  uint32_t count_ = 0;

  bool opened_ = false;
  uint32_t sample_bytes_ = 0;
  uint32_t segment_bytes_ = 0;
  uint32_t segments_ = 0;
  uint32_t active_ = kNoSegment;
  uint32_t tail_ = 0;  // offset in the area of the next record; the segment's end: no more room
  uint32_t generation_ = 1;
  uint32_t sequence_ = 0;  // of the active segment
  uint32_t next_record_ = 1;
  uint32_t damaged_ = 0;
  LogState state_;
  uint8_t buffer_[kSegmentHeaderBytes];
};

}  // namespace duty
}  // namespace tbft
