#include "hal_esp/esp_memory.h"

#include <esp_heap_caps.h>

namespace tbft {
namespace {

constexpr size_t kAlignment = 16;

EspBlock take(uint32_t kind, size_t limit, size_t leave) {
  const size_t free = heap_caps_get_free_size(kind);
  const size_t largest = heap_caps_get_largest_free_block(kind);
  if (free <= leave) {
    return {};
  }
  size_t size = largest;
  if (size > free - leave) {
    size = free - leave;
  }
  if (size > limit) {
    size = limit;
  }
  // The alignment costs up to kAlignment bytes of the block, and the heap a header.
  constexpr size_t kOverhead = 2 * kAlignment;
  if (size <= kOverhead) {
    return {};
  }
  size = (size - kOverhead) / kAlignment * kAlignment;
  auto* data = static_cast<uint8_t*>(heap_caps_aligned_alloc(kAlignment, size, kind));
  return data != nullptr && size != 0 ? EspBlock{data, size} : EspBlock{};
}

}  // namespace

EspBlock esp_take_internal(size_t limit, size_t leave) {
  return take(MALLOC_CAP_INTERNAL | MALLOC_CAP_8BIT, limit, leave);
}

EspBlock esp_take_psram(size_t limit) {
  return take(MALLOC_CAP_SPIRAM | MALLOC_CAP_8BIT, limit, 0);
}

}  // namespace tbft
