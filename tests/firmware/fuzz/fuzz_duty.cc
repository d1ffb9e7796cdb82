// What duty-cycled operation reads from outside: the schedule table from the wire, and what flash
// holds, be it anything at all. Whatever is accepted must be consistent, can be worked with, and is
// found again.
//
// Input: byte 0 modulo 5 says what the rest is: 0 a schedule table, 1 the two slots of the
// schedule, 2 the sample store; 3 and 4 the slots and the store with all CRCs set right first, so
// that the fuzzer gets past them.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "duty/sample_store.h"
#include "duty/schedule_store.h"
#include "hal/flash.h"
#include "runtime/bytes.h"
#include "runtime/crc32.h"

namespace {

using tbft::Span;
namespace duty = tbft::duty;

constexpr uint32_t kEraseBytes = 512;
constexpr uint32_t kProgramBytes = 16;
constexpr uint32_t kStoreBytes = 8192;
constexpr uint32_t kSampleBytes = 216;
constexpr uint32_t kSegmentBytes = 1024;  // what the store chooses for this geometry
constexpr uint32_t kSampleRecordBytes = 64 + 224;
constexpr size_t kIndex = 7;

enum Kind : uint8_t { kTable, kSlots, kStore, kSlotsMended, kStoreMended, kKinds };

uint8_t g_storage[kStoreBytes];
int8_t g_sample[kSampleBytes];

void require(bool fine) {
  if (!fine) abort();
}

// NOR flash over g_storage, as it is; a stray offset ends the fuzzer.
class StoredFlash final : public tbft::Flash {
 public:
  explicit StoredFlash(uint32_t size) : size_(size) {}
  uint32_t size_bytes() const override { return size_; }
  uint32_t erase_bytes() const override { return kEraseBytes; }
  uint32_t program_bytes() const override { return kProgramBytes; }
  bool erase(uint32_t offset, uint32_t size) override {
    require(inside(offset, size, kEraseBytes));
    memset(g_storage + offset, 0xff, size);
    return true;
  }
  bool program(uint32_t offset, const uint8_t* data, uint32_t size) override {
    require(inside(offset, size, kProgramBytes));
    for (uint32_t i = 0; i < size; ++i) g_storage[offset + i] &= data[i];
    return true;
  }
  bool read(uint32_t offset, uint8_t* data, uint32_t size) override {
    require(inside(offset, size, 1));
    memcpy(data, g_storage + offset, size);
    return true;
  }

 private:
  bool inside(uint32_t offset, uint32_t size, uint32_t unit) const {
    return offset % unit == 0 && size % unit == 0 && uint64_t{offset} + size <= size_;
  }
  uint32_t size_;
};

void fill(const uint8_t* data, size_t size, uint32_t bytes) {
  memset(g_storage, 0xff, sizeof g_storage);
  memcpy(g_storage, data, size < bytes ? size : bytes);
}

void mend(uint8_t* start, uint32_t crc_at) {
  tbft::store_u32(start + crc_at, tbft::crc32(0, start, crc_at));
}

void fuzz_table(Span<const uint8_t> bytes) {
  duty::Schedule schedule;
  if (!duty::parse_entries(bytes, &schedule).ok()) return;
  uint8_t again[duty::kMaxEntries * duty::kEntryBytes];
  duty::write_entries(schedule, again);
  require(memcmp(again, bytes.data(), bytes.size()) == 0);
  for (uint32_t i = 0; i < schedule.count; ++i) {
    const duty::Entry& entry = schedule.entries[i];
    (void)duty::is_quiet(entry, entry.period_s);
    if (entry.action == duty::Action::kTune) {
      const tbft::LearningRate rate = duty::divided(entry.rate, entry.batch);
      require(rate.mantissa >= (1U << 30) && rate.mantissa < (1U << 31) && rate.exponent >= -1024);
    }
  }
}

void fuzz_slots() {
  StoredFlash flash(2 * kEraseBytes);
  duty::ScheduleStore store(&flash);
  duty::Settings settings;
  if (!store.load(&settings).ok()) {
    settings.schedule.count = 1;
    settings.schedule.entries[0].period_s = 60;
  }
  settings.running = !settings.running;
  require(store.save(settings).ok());
  duty::ScheduleStore other(&flash);
  duty::Settings found;
  require(other.load(&found).ok());
  require(found.running == settings.running && found.schedule.count == settings.schedule.count);
}

// Oldest first, none twice, and none that cannot be found.
void check(const duty::SampleStore& store) {
  for (uint32_t i = 0; i < store.count(); ++i) {
    const duty::StoredSample& sample = store.sample(i);
    require(i == 0 || sample.id > store.sample(i - 1).id);
    require(store.find(sample.id) == &sample);
    require(sample.offset + uint64_t{kSampleBytes} <= kStoreBytes);
  }
}

void fuzz_store() {
  StoredFlash flash(kStoreBytes);
  duty::StoredSample index[kIndex];
  duty::SampleStore store(&flash, {index, kIndex});
  if (!store.open(kSampleBytes).ok()) {
    require(store.format(kSampleBytes).ok());
  }
  check(store);
  for (uint32_t i = 0; i < store.count(); ++i) {
    (void)store.read(store.sample(i), {g_sample, kSampleBytes});
  }
  for (uint32_t n = 0; n < 2 * kIndex; ++n) {
    if (store.state().next_id == UINT32_MAX) return;  // as many as there are numbers
    duty::Record record;
    record.id = store.state().next_id;
    memset(g_sample, static_cast<int>(n), sizeof g_sample);
    require(store.append(record, {g_sample, kSampleBytes}).ok());
    const duty::StoredSample* stored = store.find(record.id);
    require(stored != nullptr && store.read(*stored, {g_sample, kSampleBytes}).ok());
    record.type = duty::RecordType::kLabel;
    record.number = store.state().labels + 1;
    require(store.append(record, {}).ok());
    check(store);
  }
  duty::StoredSample other_index[kIndex];
  duty::SampleStore other(&flash, {other_index, kIndex});
  require(other.open(kSampleBytes).ok());
  check(other);
  require(other.state().next_id == store.state().next_id);
}

void mend_store() {
  for (uint32_t start = 0; start < kStoreBytes; start += kSegmentBytes) {
    mend(g_storage + start, duty::kSegmentHeaderBytes - 4);
    uint32_t at = start + duty::kSegmentHeaderBytes;
    while (at + kSampleRecordBytes <= start + kSegmentBytes) {
      if (duty::is_blank(g_storage + at, duty::kRecordHeaderBytes)) break;
      mend(g_storage + at, duty::kRecordHeaderBytes - 4);
      at += g_storage[at] == 1 ? kSampleRecordBytes : duty::kRecordHeaderBytes;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const uint8_t kind = data[0] % kKinds;
  ++data;
  --size;
  if (kind == kTable) {
    fuzz_table({data, size});
  } else if (kind == kSlots || kind == kSlotsMended) {
    fill(data, size, 2 * kEraseBytes);
    if (kind == kSlotsMended) {
      mend(g_storage, kEraseBytes - 4);
      mend(g_storage + kEraseBytes, kEraseBytes - 4);
    }
    fuzz_slots();
  } else {
    fill(data, size, kStoreBytes);
    if (kind == kStoreMended) mend_store();
    fuzz_store();
  }
  return 0;
}
