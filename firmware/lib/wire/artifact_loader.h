// Takes an artifact piece by piece into its store, checks it as a whole and loads it; an
// interrupted upload can go on.
#pragma once

#include <cstdint>

#include "runtime/checkpoint.h"
#include "runtime/engine.h"
#include "runtime/sha256.h"
#include "runtime/status.h"
#include "wire/artifact_store.h"
#include "wire/messages.h"

namespace tbft {
namespace wire {

// A status of the runtime or of the protocol, as it goes over the wire.
struct Outcome {
  uint16_t code = 0;
  uint32_t record = 0;
  const char* text = "";

  static Outcome of(Status status);
  static Outcome of(WireStatus status, uint32_t record = 0);
  bool ok() const { return code == 0; }
};

class ArtifactLoader {
 public:
  // `checkpoint` may be null: no flash for weights.
  ArtifactLoader(Engine& engine, ArtifactStore& store, Checkpoint* checkpoint)
      : engine_(engine), store_(store), checkpoint_(checkpoint) {}

  // Loads what the store holds already, `total` bytes of it.
  Outcome load_stored(uint32_t total);

  Outcome begin(const ArtifactBeginRequest& request);
  Outcome chunk(const ArtifactChunkRequest& request);
  Outcome end();

  uint32_t received() const { return received_; }
  uint32_t capacity() const { return store_.capacity(); }
  // Outcome of the last attempt to load; kNotLoaded before the first.
  const Outcome& loaded() const { return loaded_; }
  // Whether committed weights were restored when it was loaded, and not replaced since.
  bool restored() const { return restored_; }
  // The weights were reset or written over.
  void weights_replaced() { restored_ = false; }
  // Arena bytes that the stored artifact's header asks for, also when it was refused; 0 without
  // one.
  uint32_t arena_bytes() const;

 private:
  Outcome load();
  void unload();

  Engine& engine_;
  ArtifactStore& store_;
  Checkpoint* checkpoint_;
  Outcome loaded_ = Outcome::of(Status(StatusCode::kNotLoaded));
  uint8_t sha256_[Sha256::kDigestBytes] = {};
  bool sha256_known_ = false;
  uint32_t total_ = 0;
  uint32_t received_ = 0;
  bool restored_ = false;
};

}  // namespace wire
}  // namespace tbft
