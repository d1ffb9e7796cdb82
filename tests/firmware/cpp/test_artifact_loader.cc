// What the artifact loader remembers of attempts that fail before the engine sees the artifact.
#include "wire/artifact_loader.h"

#include <cstdio>

#include "runtime/engine.h"

namespace {

using namespace tbft;

int failures = 0;

void expect(bool fine, const char* what, int line) {
  if (fine) return;
  fprintf(stderr, "test_artifact_loader.cc:%d: %s\n", line, what);
  ++failures;
}
#define EXPECT(condition) expect((condition), #condition, __LINE__)

alignas(16) uint8_t g_arena[64];
alignas(16) uint8_t g_store[256];

void test_stored_artifact_too_large() {
  Engine engine({g_arena, sizeof g_arena}, nullptr, nullptr);
  wire::RamArtifactStore store({g_store, sizeof g_store});
  wire::ArtifactLoader loader(engine, store, nullptr);
  EXPECT(loader.loaded().code == static_cast<uint16_t>(StatusCode::kNotLoaded));
  EXPECT(loader.load_stored(sizeof g_store).code == static_cast<uint16_t>(StatusCode::kBadMagic));
  EXPECT(loader.loaded().code == static_cast<uint16_t>(StatusCode::kBadMagic));
  const auto too_large = static_cast<uint16_t>(wire::WireStatus::kArtifactTooLarge);
  EXPECT(loader.load_stored(sizeof g_store + 1).code == too_large);
  EXPECT(loader.loaded().code == too_large);
  EXPECT(loader.loaded().record == sizeof g_store);
  EXPECT(loader.received() == 0);
  // Nothing of the store counts as an upload that could be ended.
  EXPECT(loader.end().code == static_cast<uint16_t>(wire::WireStatus::kArtifactOrder));
  EXPECT(loader.arena_bytes() == 0);
}

}  // namespace

int main() {
  test_stored_artifact_too_large();
  if (failures == 0) printf("test_artifact_loader: all passed\n");
  return failures == 0 ? 0 : 1;
}
