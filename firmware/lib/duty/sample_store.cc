#include "duty/sample_store.h"

#include <cstring>

#include "runtime/crc32.h"

namespace tbft {
namespace duty {
namespace {

// The ring needs one segment to write, one to erase, and something to keep.
constexpr uint32_t kMinSegments = 4;
// No more of a segment than this part shall be left over.
constexpr uint32_t kWastePart = 8;

}  // namespace

uint32_t SampleStore::padded(uint32_t bytes) const {
  const uint32_t unit = flash_->program_bytes();
  return (bytes + unit - 1) / unit * unit;
}

// Segments of as few erase blocks as leave little over behind the last sample that fits.
bool SampleStore::choose_segments(uint32_t sample_bytes) {
  const uint32_t unit = flash_->program_bytes();
  const uint32_t block = flash_->erase_bytes();
  const uint32_t total = flash_->size_bytes();
  if (unit == 0 || kSegmentHeaderBytes % unit != 0 || block == 0 || sample_bytes == 0 ||
      sample_bytes > total || index_.empty()) {
    return false;
  }
  // A sample and its label.
  const uint64_t pair = uint64_t{record_bytes(sample_bytes)} + record_bytes(0);
  uint64_t best_left = 0;
  uint64_t best = 0;
  for (uint64_t bytes = block; bytes * kMinSegments <= total; bytes += block) {
    if (bytes < kSegmentHeaderBytes + pair) continue;
    const uint64_t left = (bytes - kSegmentHeaderBytes) % pair;
    // left / bytes < best_left / best
    if (best == 0 || left * best < best_left * bytes) {
      best = bytes;
      best_left = left;
    }
    if (left <= bytes / kWastePart) break;
  }
  if (best == 0) return false;
  sample_bytes_ = sample_bytes;
  segment_bytes_ = static_cast<uint32_t>(best);
  segments_ = total / segment_bytes_;
  return true;
}

uint32_t SampleStore::capacity() const {
  if (segments_ == 0) return 0;
  const uint32_t pair = record_bytes(sample_bytes_) + record_bytes(0);
  // The segment being written and one that a power cut closed early do not count.
  const uint32_t stored = (segments_ - 2) * ((segment_bytes_ - kSegmentHeaderBytes) / pair);
  return stored < index_.size() ? stored : static_cast<uint32_t>(index_.size());
}

// ---- reading the log

bool SampleStore::read_header(uint32_t offset, SegmentHeader* header, bool* readable) {
  *readable = flash_->read(offset, buffer_, kSegmentHeaderBytes);
  if (!*readable || !decode_segment(buffer_, header)) return false;
  const uint32_t bytes = header->segment_bytes;
  return bytes != 0 && bytes % flash_->erase_bytes() == 0 && offset % bytes == 0 &&
         uint64_t{offset} + bytes <= flash_->size_bytes();
}

// The newest segment of whatever geometry: the store may have been made for samples of another
// size.
bool SampleStore::find_newest(SegmentHeader* newest, uint32_t* offset) {
  bool found = false;
  const uint32_t block = flash_->erase_bytes();
  for (uint32_t at = 0; at + block <= flash_->size_bytes(); at += block) {
    SegmentHeader header;
    bool readable = false;
    if (!read_header(at, &header, &readable)) {
      damaged_ += readable ? 0 : 1;
      continue;
    }
    if (!found || header.generation > newest->generation ||
        (header.generation == newest->generation && header.sequence > newest->sequence)) {
      *newest = header;
      *offset = at;
      found = true;
    }
  }
  return found;
}

bool SampleStore::same_store(const SegmentHeader& header) const {
  return header.generation == generation_ && header.sample_bytes == sample_bytes_ &&
         header.segment_bytes == segment_bytes_;
}

Status SampleStore::open(uint32_t sample_bytes) {
  opened_ = false;
  head_ = 0;
  count_ = 0;
  damaged_ = 0;
  active_ = kNoSegment;
  generation_ = 1;
  sequence_ = 0;
  next_record_ = 1;
  state_ = LogState();
  if (!choose_segments(sample_bytes)) {
    segments_ = 0;
    return StatusCode::kStoreGeometry;
  }
  SegmentHeader newest;
  uint32_t offset = 0;
  if (find_newest(&newest, &offset)) {
    generation_ = newest.generation;
    if (!same_store(newest)) return StatusCode::kStoreForeign;
    active_ = offset / segment_bytes_;
    uint32_t last = 0;
    for (uint32_t i = 1; i < segments_; ++i) {
      const uint32_t segment = (active_ + i) % segments_;
      SegmentHeader header;
      bool readable = false;
      if (!read_header(segment * segment_bytes_, &header, &readable) || !same_store(header) ||
          header.sequence <= last || header.sequence >= newest.sequence) {
        continue;
      }
      last = header.sequence;
      scan(segment, false);
    }
    sequence_ = newest.sequence;
    next_record_ = newest.next_record;
    state_ = newest.state;
    scan(active_, true);
    // Only a log that nobody wrote has samples beyond those it counts.
    if (count_ != 0 && sample(count_ - 1).id >= state_.next_id) {
      const uint32_t id = sample(count_ - 1).id;
      state_.next_id = id == UINT32_MAX ? id : id + 1;
    }
  }
  opened_ = true;
  return {};
}

void SampleStore::scan(uint32_t segment, bool newest) {
  const uint32_t end = (segment + 1) * segment_bytes_;
  uint32_t at = segment * segment_bytes_ + kSegmentHeaderBytes;
  uint32_t tail = end;
  while (uint64_t{at} + record_bytes(0) <= end) {
    if (!flash_->read(at, buffer_, kRecordHeaderBytes)) {
      ++damaged_;
      break;
    }
    if (is_blank(buffer_, kRecordHeaderBytes)) {
      // Behind a record that was cut off something may have been written: nothing goes there.
      if (!newest || blank(at, end)) {
        tail = at;
      } else {
        ++damaged_;
      }
      break;
    }
    Record record;
    const bool whole = decode_record(buffer_, &record);
    const uint32_t payload = record.type == RecordType::kSample ? sample_bytes_ : 0;
    if (!whole || record.payload_bytes != payload || record_bytes(payload) > end - at) {
      ++damaged_;
      break;
    }
    note(record, at + padded(kRecordHeaderBytes));
    if (newest) {
      state_.apply(record);
      next_record_ = record.sequence + 1;
    }
    at += record_bytes(payload);
  }
  if (newest) tail_ = tail;
}

bool SampleStore::blank(uint32_t offset, uint32_t end) {
  while (offset < end) {
    const uint32_t n = end - offset < sizeof buffer_ ? end - offset : sizeof buffer_;
    if (!flash_->read(offset, buffer_, n) || !is_blank(buffer_, n)) return false;
    offset += n;
  }
  return true;
}

// ---- the index

void SampleStore::note(const Record& record, uint32_t offset) {
  if (record.type == RecordType::kSample) {
    if (count_ != 0 && record.id <= sample(count_ - 1).id) return;
    if (count_ == index_.size()) {
      head_ = static_cast<uint32_t>((head_ + 1) % index_.size());
      --count_;
    }
    StoredSample& stored = index_[(head_ + count_) % index_.size()];
    stored = StoredSample();
    stored.id = record.id;
    stored.offset = offset;
    stored.bytes_crc = record.payload_crc;
    stored.taken_s = record.time_s;
    stored.prediction = record.prediction;
    ++count_;
  } else if (record.type == RecordType::kLabel) {
    StoredSample* stored = lookup(record.id);
    if (stored == nullptr || stored->label_number != 0) return;
    stored->label_number = record.number;
    stored->label = record.label;
  }
}

// The segment's samples are the oldest.
void SampleStore::drop_segment(uint32_t segment) {
  const uint32_t start = segment * segment_bytes_;
  while (count_ != 0 && sample(0).offset >= start && sample(0).offset - start < segment_bytes_) {
    head_ = static_cast<uint32_t>((head_ + 1) % index_.size());
    --count_;
  }
}

StoredSample* SampleStore::lookup(uint32_t id) {
  uint32_t low = 0;
  uint32_t high = count_;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    if (sample(middle).id < id) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low == count_ || sample(low).id != id) return nullptr;
  return &index_[(head_ + low) % index_.size()];
}

const StoredSample* SampleStore::find(uint32_t id) const {
  return const_cast<SampleStore*>(this)->lookup(id);
}

// ---- writing

Status SampleStore::open_segment(uint32_t segment, const LogState& state) {
  const uint32_t start = segment * segment_bytes_;
  const uint32_t block = flash_->erase_bytes();
  drop_segment(segment);
  // From here the segment counts no more, whatever the erase does first. It is not blank either
  // until its header says so.
  active_ = segment;
  tail_ = start + segment_bytes_;
  if (!flash_->erase(start, block)) return StatusCode::kFlashErase;
  if (segment_bytes_ != block && !flash_->erase(start + block, segment_bytes_ - block)) {
    return StatusCode::kFlashErase;
  }
  SegmentHeader header;
  header.generation = generation_;
  header.sequence = ++sequence_;
  header.sample_bytes = sample_bytes_;
  header.segment_bytes = segment_bytes_;
  header.next_record = next_record_;
  header.state = state;
  encode_segment(header, buffer_);
  if (!flash_->program(start, buffer_, kSegmentHeaderBytes)) return StatusCode::kFlashProgram;
  SegmentHeader written;
  bool readable = false;
  if (!read_header(start, &written, &readable) || written.sequence != sequence_) {
    return readable ? StatusCode::kFlashVerify : StatusCode::kFlashRead;
  }
  tail_ = start + kSegmentHeaderBytes;
  return {};
}

// A segment that does not take its header is passed over, once: a flash that takes nothing at all
// shall not cost every sample.
Status SampleStore::open_next() {
  const uint32_t next = active_ == kNoSegment ? 0 : (active_ + 1) % segments_;
  const Status status = open_segment(next, state_);
  return status.ok() ? status : open_segment((next + 1) % segments_, state_);
}

Status SampleStore::payload_crc(uint32_t offset, uint32_t bytes, uint32_t* crc) {
  *crc = 0;
  for (uint32_t done = 0; done < bytes;) {
    const uint32_t left = bytes - done;
    const uint32_t n = left < sizeof buffer_ ? left : sizeof buffer_;
    if (!flash_->read(offset + done, buffer_, n)) return StatusCode::kFlashRead;
    *crc = crc32(*crc, buffer_, n);
    done += n;
  }
  return {};
}

Status SampleStore::write_payload(uint32_t offset, Record* record, Span<const int8_t> payload) {
  const auto bytes = static_cast<uint32_t>(payload.size());
  record->payload_bytes = bytes;
  record->payload_crc = 0;
  for (uint32_t done = 0; done < bytes;) {
    const uint32_t left = bytes - done;
    const uint32_t n = left < sizeof buffer_ ? left : sizeof buffer_;
    memset(buffer_, 0xff, sizeof buffer_);
    memcpy(buffer_, payload.data() + done, n);
    record->payload_crc = crc32(record->payload_crc, buffer_, n);
    if (!flash_->program(offset + done, buffer_, padded(n))) return StatusCode::kFlashProgram;
    done += n;
  }
  uint32_t crc = 0;
  const Status status = payload_crc(offset, bytes, &crc);
  if (!status.ok()) return status;
  return crc == record->payload_crc ? Status() : Status(StatusCode::kFlashVerify);
}

// The header makes the record count, so it comes last.
Status SampleStore::write_record(Record* record, Span<const int8_t> payload) {
  const uint32_t at = tail_;
  tail_ = (active_ + 1) * segment_bytes_;  // unless all goes well, nothing more goes here
  Status status = write_payload(at + padded(kRecordHeaderBytes), record, payload);
  if (!status.ok()) return status;
  record->sequence = next_record_;
  memset(buffer_, 0xff, sizeof buffer_);
  encode_record(*record, buffer_);
  if (!flash_->program(at, buffer_, padded(kRecordHeaderBytes))) return StatusCode::kFlashProgram;
  if (!flash_->read(at, buffer_, kRecordHeaderBytes)) return StatusCode::kFlashRead;
  Record written;
  if (!decode_record(buffer_, &written) || written.sequence != record->sequence) {
    return StatusCode::kFlashVerify;
  }
  tail_ = at + record_bytes(record->payload_bytes);
  ++next_record_;
  state_.apply(*record);
  note(*record, at + padded(kRecordHeaderBytes));
  return {};
}

Status SampleStore::append(Record record, Span<const int8_t> payload) {
  if (!opened_) return StatusCode::kStoreGeometry;
  const bool is_sample = record.type == RecordType::kSample;
  if (payload.size() != (is_sample ? sample_bytes_ : 0)) return StatusCode::kBadArgument;
  if (record.type == RecordType::kLabel) {
    const StoredSample* stored = find(record.id);
    if (stored == nullptr) return {StatusCode::kNoSample, record.id};
    if (stored->label_number != 0) return {StatusCode::kLabelled, record.id};
  }
  const uint32_t needed = record_bytes(static_cast<uint32_t>(payload.size()));
  Status status;
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (active_ == kNoSegment || needed > (active_ + 1) * segment_bytes_ - tail_) {
      status = open_next();
      if (!status.ok()) return status;
    }
    // The segment just opened may have been that of the sample.
    if (record.type == RecordType::kLabel && find(record.id) == nullptr) {
      return {StatusCode::kNoSample, record.id};
    }
    status = write_record(&record, payload);
    if (status.ok()) return status;
  }
  return status;
}

Status SampleStore::format(uint32_t sample_bytes) {
  const Status found = open(sample_bytes);
  if (!found.ok() && found.code != StatusCode::kStoreForeign) return found;
  SegmentHeader newest;
  uint32_t offset = 0;
  uint32_t segment = 0;
  if (find_newest(&newest, &offset)) {
    // Not over the newest: until the new generation's first header is whole, the old one counts.
    segment = (offset + newest.segment_bytes + segment_bytes_ - 1) / segment_bytes_ % segments_;
    generation_ = newest.generation + 1;
  }
  head_ = 0;
  count_ = 0;
  state_ = LogState();
  next_record_ = 1;
  sequence_ = 0;
  opened_ = false;
  const Status status = open_segment(segment, state_);
  opened_ = status.ok();
  return status;
}

Status SampleStore::read(const StoredSample& stored, Span<int8_t> out) {
  if (out.size() != sample_bytes_) return StatusCode::kBadArgument;
  auto* bytes = reinterpret_cast<uint8_t*>(out.data());
  if (!flash_->read(stored.offset, bytes, sample_bytes_))
    return {StatusCode::kFlashRead, stored.id};
  if (crc32(0, bytes, out.size()) != stored.bytes_crc) {
    return {StatusCode::kStoreDamaged, stored.id};
  }
  return {};
}

}  // namespace duty
}  // namespace tbft
