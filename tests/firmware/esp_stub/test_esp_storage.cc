// What lives in the partitions: the artifact store and the sample cache, over the flash of the
// stand-ins, with failing operations.
#include <cstring>
#include <vector>

#include "check.h"
#include "esp_stub.h"
#include "hal_esp/esp_partition_flash.h"
#include "hal_memory/flash_sample_cache.h"
#include "runtime/bytes.h"
#include "wire/flash_artifact_store.h"

namespace {

using esp_stub::state;
using tbft::EspPartitionFlash;

constexpr uint32_t kPartition = 256U << 10;

std::vector<uint8_t> artifact(uint32_t size) {
  std::vector<uint8_t> bytes(size);
  for (uint32_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i * 13 + i / 251);
  memcpy(bytes.data(), "TBFA", 4);
  tbft::store_u32(bytes.data() + 8, size);
  return bytes;
}

bool upload(tbft::wire::FlashArtifactStore* store, const std::vector<uint8_t>& bytes,
            uint32_t piece) {
  if (!store->begin(static_cast<uint32_t>(bytes.size()))) return false;
  for (uint32_t at = 0; at < bytes.size();) {
    const auto left = static_cast<uint32_t>(bytes.size()) - at;
    const uint32_t size = left < piece ? left : piece;
    if (!store->write(at, {bytes.data() + at, size})) return false;
    at += size;
  }
  return true;
}

void test_artifact_store(bool encrypted) {
  esp_stub::reset();
  esp_stub::add_partition(EspPartitionFlash::kArtifact, kPartition, encrypted);
  EspPartitionFlash flash;
  CHECK(flash.open(EspPartitionFlash::kArtifact));
  tbft::wire::FlashArtifactStore store(flash, flash.map());
  CHECK(store.capacity() == kPartition && store.stored() == 0);
  const uint32_t sizes[] = {128, 1001, 70'000, kPartition};
  const uint32_t pieces[] = {1, 7, 1020, 1024};
  for (const uint32_t size : sizes) {
    for (const uint32_t piece : pieces) {
      if (piece == 1 && size > 2000) continue;
      const std::vector<uint8_t> bytes = artifact(size);
      CHECK(upload(&store, bytes, piece));
      CHECK(memcmp(store.data(), bytes.data(), size) == 0);
      CHECK(store.stored() == size);
    }
  }
  CHECK(!store.begin(kPartition + 1));
  // Out of order, twice, and beyond the end announced.
  const std::vector<uint8_t> bytes = artifact(1000);
  CHECK(store.begin(1000));
  CHECK(store.stored() == 0);  // the old one is gone
  CHECK(!store.write(4, {bytes.data(), 4}));
  CHECK(store.write(0, {bytes.data(), 600}));
  CHECK(!store.write(0, {bytes.data(), 600}));
  CHECK(!store.write(600, {bytes.data(), 401}));
  CHECK(store.write(600, {bytes.data() + 600, 400}));
  CHECK(memcmp(store.data(), bytes.data(), 1000) == 0);
  CHECK(store.write(1000, {bytes.data(), 0}));
  // A header that says too much is none.
  std::vector<uint8_t> lie = artifact(1000);
  tbft::store_u32(lie.data() + 8, kPartition + 1);
  CHECK(upload(&store, lie, 1024) && store.stored() == 0);
}

// Each flash operation in turn fails, and the store says so and works again afterwards.
void test_artifact_store_failures() {
  const std::vector<uint8_t> bytes = artifact(70'000);
  for (int fail = 0;; ++fail) {
    esp_stub::reset();
    esp_stub::add_partition(EspPartitionFlash::kArtifact, kPartition);
    EspPartitionFlash flash;
    CHECK(flash.open(EspPartitionFlash::kArtifact));
    tbft::wire::FlashArtifactStore store(flash, flash.map());
    state().flash_fail_at = fail;
    const bool good = upload(&store, bytes, 1020);
    const bool reached = state().flash_operations > fail;
    CHECK(good != reached);
    state().flash_fail_at = -1;
    if (reached) {  // nothing is taken before the next begin()
      for (uint32_t at = 0; at <= bytes.size(); at += 1020) {
        CHECK(!store.write(at, {bytes.data(), 4}));
      }
    }
    CHECK(upload(&store, bytes, 1020));
    CHECK(memcmp(store.data(), bytes.data(), bytes.size()) == 0);
    if (!reached) break;
  }
  // Without a mapping there is no room at all.
  esp_stub::reset();
  esp_stub::add_partition(EspPartitionFlash::kArtifact, kPartition);
  EspPartitionFlash flash;
  CHECK(flash.open(EspPartitionFlash::kArtifact));
  tbft::wire::FlashArtifactStore none(flash, nullptr);
  CHECK(none.capacity() == 0 && none.stored() == 0 && !none.begin(128));
}

std::vector<uint8_t> sample(uint32_t size, uint32_t number) {
  std::vector<uint8_t> bytes(size);
  for (uint32_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(number * 31 + i);
  return bytes;
}

bool holds(tbft::FlashSampleCache* cache, uint32_t slot, uint32_t size, uint32_t number) {
  std::vector<uint8_t> bytes(size);
  uint16_t label = 0;
  return cache->get(slot, bytes.data(), &label) && label == number * 7 % 1000 &&
         bytes == sample(size, number);
}

bool put(tbft::FlashSampleCache* cache, uint32_t slot, uint32_t size, uint32_t number) {
  return cache->put(slot, sample(size, number).data(), static_cast<uint16_t>(number * 7 % 1000));
}

void test_cache(uint32_t size, bool encrypted) {
  esp_stub::reset();
  esp_stub::add_partition(EspPartitionFlash::kCache, kPartition, encrypted);
  EspPartitionFlash flash;
  CHECK(flash.open(EspPartitionFlash::kCache));
  std::vector<uint8_t> used(512);
  std::vector<uint8_t> block(flash.erase_bytes());
  tbft::FlashSampleCache cache(flash, used.data(), static_cast<uint32_t>(used.size()), block.data(),
                               static_cast<uint32_t>(block.size()));
  CHECK(cache.slots() == 0 && !cache.has(0) && !put(&cache, 0, size, 0));
  CHECK(cache.configure(size));
  const uint32_t slots = cache.slots();
  CHECK(slots >= kPartition / (size + 4096) && slots <= 512 * 8);
  CHECK(!cache.has(slots) && !put(&cache, slots, size, 0));
  // In ascending order, then from the last down, then the same ones with other samples.
  for (uint32_t i = 0; i < slots; i += 2) CHECK(put(&cache, i, size, i));
  for (uint32_t i = slots; i-- > 0;) {
    if (i % 2 == 1) CHECK(put(&cache, i, size, i));
  }
  for (uint32_t i = 0; i < slots; ++i) CHECK(holds(&cache, i, size, i));
  const uint32_t again = slots < 40 ? slots : 40;
  for (uint32_t i = 0; i < again; ++i) CHECK(put(&cache, i, size, i + 5));
  for (uint32_t i = 0; i < slots; ++i) CHECK(holds(&cache, i, size, i < again ? i + 5 : i));
  CHECK(cache.configure(size));
  CHECK(!cache.has(0) && put(&cache, 0, size, 9) && holds(&cache, 0, size, 9) && !cache.has(1));
}

// Whatever operation fails, a slot that the cache says it has holds what was put there last.
void test_cache_failures() {
  constexpr uint32_t kSize = 300;
  for (int fail = 0; fail < 40; ++fail) {
    esp_stub::reset();
    esp_stub::add_partition(EspPartitionFlash::kCache, kPartition);
    EspPartitionFlash flash;
    CHECK(flash.open(EspPartitionFlash::kCache));
    std::vector<uint8_t> used(64);
    std::vector<uint8_t> block(4096);
    tbft::FlashSampleCache cache(flash, used.data(), 64, block.data(), 4096);
    CHECK(cache.configure(kSize));
    uint32_t expected[16] = {};
    for (uint32_t step = 0; step < 32; ++step) {
      const uint32_t slot = step * 5 % 16;
      // One failing operation, or all from there on for a while.
      state().flash_fail_at = step >= 4 && step < 12 ? fail : -1;
      if (put(&cache, slot, kSize, step + 1)) expected[slot] = step + 1;
      for (uint32_t i = 0; i < 16; ++i) {
        if (cache.has(i) && i != slot) CHECK(holds(&cache, i, kSize, expected[i]));
      }
      if (cache.has(slot)) CHECK(holds(&cache, slot, kSize, expected[slot]));
    }
  }
}

}  // namespace

int main() {
  test_artifact_store(false);
  test_artifact_store(true);
  test_artifact_store_failures();
  for (const bool encrypted : {false, true}) {
    for (const uint32_t size : {1U, 64U, 100U, 4094U, 4095U, 16384U}) test_cache(size, encrypted);
  }
  test_cache_failures();
  return verdict();
}
