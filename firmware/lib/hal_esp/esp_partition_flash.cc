#include "hal_esp/esp_partition_flash.h"

namespace tbft {
namespace {

constexpr uint32_t kProgramBytes = 4;
constexpr uint32_t kEncryptedProgramBytes = 16;  // flash encryption works on blocks of this size

}  // namespace

bool EspPartitionFlash::open(const char* label) {
  partition_ = esp_partition_find_first(ESP_PARTITION_TYPE_DATA, ESP_PARTITION_SUBTYPE_ANY, label);
  return partition_ != nullptr;
}

const uint8_t* EspPartitionFlash::map() {
  if (partition_ == nullptr) {
    return nullptr;
  }
  // The mapping stays for good. The driver drops cached copies of what it writes or erases.
  const void* address = nullptr;
  esp_partition_mmap_handle_t handle = 0;
  const esp_err_t error = esp_partition_mmap(partition_, 0, partition_->size,
                                             ESP_PARTITION_MMAP_DATA, &address, &handle);
  return error == ESP_OK ? static_cast<const uint8_t*>(address) : nullptr;
}

uint32_t EspPartitionFlash::size_bytes() const {
  return partition_ != nullptr ? partition_->size : 0;
}

uint32_t EspPartitionFlash::erase_bytes() const {
  return partition_ != nullptr ? partition_->erase_size : 1;
}

uint32_t EspPartitionFlash::program_bytes() const {
  return partition_ != nullptr && partition_->encrypted ? kEncryptedProgramBytes : kProgramBytes;
}

bool EspPartitionFlash::erase(uint32_t offset, uint32_t size) {
  return partition_ != nullptr && esp_partition_erase_range(partition_, offset, size) == ESP_OK;
}

bool EspPartitionFlash::program(uint32_t offset, const uint8_t* data, uint32_t size) {
  return partition_ != nullptr && esp_partition_write(partition_, offset, data, size) == ESP_OK;
}

bool EspPartitionFlash::read(uint32_t offset, uint8_t* data, uint32_t size) {
  return partition_ != nullptr && esp_partition_read(partition_, offset, data, size) == ESP_OK;
}

}  // namespace tbft
