// What the firmware's programs have in common: the parts between a board's hardware and its port,
// put together in the one way there is. Each main_*.cc brings the hardware and the memory.
#pragma once

#include <cstdint>

#include "hal/byte_stream.h"
#include "hal/clock.h"
#include "hal/flash.h"
#include "hal/sample_cache.h"
#include "hal/trigger_pin.h"
#include "runtime/checkpoint.h"
#include "runtime/engine.h"
#include "runtime/span.h"
#include "wire/artifact_loader.h"
#include "wire/artifact_store.h"
#include "wire/counting_flash.h"
#include "wire/dispatcher.h"
#include "wire/event_recorder.h"

#ifndef TBFT_VERSION
#define TBFT_VERSION "unknown"
#endif

#ifdef TBFT_LINKED_ARTIFACT
extern "C" const uint8_t tbft_linked_artifact[];  // linked_artifact.S
extern "C" const uint8_t tbft_linked_artifact_end[];
#endif

namespace tbft {

// All of it outlives the BoardApp.
struct BoardParts {
  wire::BoardInfo info;
  Clock& clock;
  ByteStream& stream;
  TriggerPin* pin;  // may be null
  Flash& flash;     // for checkpoints
  SampleCache& cache;
  wire::ArtifactStore& store;
  Span<const Span<uint8_t>> regions;  // of the arena, fastest first, each aligned to 16 bytes
  Span<int8_t> input;                 // room for one input
  Span<wire::PhaseRecord> events;     // the last phase events
};

class BoardApp {
 public:
  explicit BoardApp(const BoardParts& parts)
      : events(parts.clock, parts.pin, parts.events),
        flash(parts.flash, events),
        engine(parts.regions, &parts.cache, &events),
        checkpoint(&flash, &events),
        loader(engine, parts.store, &checkpoint),
        dispatcher(parts.info, engine, loader, &checkpoint, events, parts.input, parts.stream,
                   parts.clock) {}

  // Loads the artifact that the store holds, 0 bytes where it holds none, and says over the port
  // why the board started and what came of the artifact.
  void start(const char* reason, uint32_t artifact_bytes) {
    wire::Outcome outcome;
    if (artifact_bytes != 0) outcome = loader.load_stored(artifact_bytes);
    char text[kLineBytes];
    size_t at = append("started: ", 0, text);
    at = append(reason, at, text);
    if (artifact_bytes == 0) {
      (void)append("; no artifact", at, text);
    } else if (!outcome.ok()) {
      at = append("; artifact refused: ", at, text);
      (void)append(outcome.text, at, text);
    } else if (loader.restored()) {
      (void)append("; artifact loaded, weights restored from flash", at, text);
    } else {
      (void)append("; artifact loaded", at, text);
    }
    dispatcher.log(outcome.ok() ? wire::LogLevel::kInfo : wire::LogLevel::kWarning, text);
  }

  wire::EventRecorder events;
  wire::CountingFlash flash;
  Engine engine;
  Checkpoint checkpoint;
  wire::ArtifactLoader loader;
  wire::Dispatcher dispatcher;

 private:
  static constexpr size_t kLineBytes = 160;

  // Appends what fits, and ends the text; returns its length.
  static size_t append(const char* text, size_t at, char line[kLineBytes]) {
    for (; *text != '\0' && at + 1 < kLineBytes; ++text, ++at) line[at] = *text;
    line[at] = '\0';
    return at;
  }
};

// The artifact linked into the image, empty where there is none.
inline Span<const uint8_t> linked_artifact() {
#ifdef TBFT_LINKED_ARTIFACT
  return {tbft_linked_artifact,
          static_cast<size_t>(tbft_linked_artifact_end - tbft_linked_artifact)};
#else
  return {};
#endif
}

}  // namespace tbft
