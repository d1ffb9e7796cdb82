// Executes the requests of the wire protocol (docs/protocol.md) on an engine. No heap; all buffers
// are members or the caller's.
#pragma once

#include <cstdint>

#include "hal/byte_stream.h"
#include "hal/clock.h"
#include "runtime/checkpoint.h"
#include "runtime/engine.h"
#include "runtime/span.h"
#include "wire/artifact_loader.h"
#include "wire/event_recorder.h"
#include "wire/frame.h"
#include "wire/messages.h"

namespace tbft {
namespace wire {

// What Identify tells about the board. NUL-terminated, at most 31 bytes are sent of either name.
struct BoardInfo {
  const char* board = "";
  const char* firmware = "";
  uint32_t clock_hz = 0;  // 0: unknown
  uint32_t arena_bytes = 0;
};

class Dispatcher final : private EventRecorder::Hook {
 public:
  // `input` is room for one input; `checkpoint` may be null. The engine's listener must be
  // `events`.
  Dispatcher(const BoardInfo& board, Engine& engine, ArtifactLoader& loader, Checkpoint* checkpoint,
             EventRecorder& events, Span<int8_t> input, ByteStream& stream, Clock& clock);

  // Waits up to `timeout_ms` for bytes and handles what comes; does one sample of a long request.
  // False when the stream is closed.
  bool poll(uint32_t timeout_ms);
  // The same for bytes that are there already.
  void receive(Span<const uint8_t> bytes);
  // Does one sample of the long request in progress; false when there is none.
  bool step();

 private:
  struct Job {
    uint8_t type = 0;  // 0: no job
    uint16_t sequence = 0;
    uint32_t count = 0;
    uint32_t done = 0;
    uint32_t slots[kMaxSlots] = {};
    // Train
    uint16_t update_every = 0;
    uint16_t since_update = 0;
    bool update_at_end = false;
    TrainResponse result;
    // Evaluate
    uint16_t predictions[kMaxSlots] = {};
  };

  void after_phase() override;
  static Outcome while_busy(const FrameView& frame);
  void handle(const FrameView& frame);
  void execute(const FrameView& frame);
  template <typename Request>
  void decode_and_run(const FrameView& frame);

  // One per request; each answers, or starts the job.
  void run(const IdentifyRequest& request);
  void run(const AbortRequest& request);
  void run(const ConfigureRequest& request);
  void run(const ArtifactBeginRequest& request);
  void run(const ArtifactChunkRequest& request);
  void run(const ArtifactEndRequest& request);
  void run(const SelfTestRequest& request);
  void run(const InputChunkRequest& request);
  void run(const CacheInputRequest& request);
  void run(const TrainRequest& request);
  void run(const TrainInputRequest& request);
  void run(const InferInputRequest& request);
  void run(const InferSlotRequest& request);
  void run(const EvaluateRequest& request);
  void run(const TensorTableRequest& request);
  void run(const ReadWeightsRequest& request);
  void run(const WriteWeightsRequest& request);
  void run(const WeightsHashRequest& request);
  void run(const CommitRequest& request);
  void run(const ReadEventsRequest& request);

  bool input_complete();
  bool start_job(uint8_t type, Span<const uint8_t> slots);
  Status step_train(uint32_t slot);
  void finish_job();
  void fail_job(const Outcome& outcome);
  static void add(TrainResponse* sum, const TrainResult& sample);

  // The response is built in place: body() gives its writer, answer() completes and sends it.
  BodyWriter body() { return BodyWriter({response_ + kFrameHeaderBytes, kBodyLimit}); }
  void answer(uint8_t type, const BodyWriter& body);
  template <typename Response>
  void answer(const Response& response) {
    BodyWriter out = body();
    (void)response.encode(out);
    answer(Response::kType, out);
  }
  void answer_empty(uint8_t request_type);
  void answer_error(const Outcome& outcome);
  void send_kept();
  template <typename Notice>
  void notify(const Notice& notice, uint16_t sequence);
  void send(Span<const uint8_t> payload);
  void send_events(bool all);
  uint32_t write_events(uint32_t first, BodyWriter* out) const;
  void send_progress();

  const BoardInfo board_;
  Engine& engine_;
  ArtifactLoader& loader_;
  Checkpoint* checkpoint_;
  EventRecorder& events_;
  Span<int8_t> input_;
  ByteStream& stream_;
  Clock& clock_;

  FrameDecoder decoder_;
  Job job_;
  uint32_t input_received_ = 0;
  // load event: first frame of the upload, and the wire's count then
  uint64_t frame_start_us_ = 0;
  uint32_t frame_start_bytes_ = 0;
  uint64_t load_start_us_ = 0;
  uint32_t load_start_bytes_ = 0;
  uint32_t wire_bytes_ = 0;
  uint32_t events_sent_ = 0;
  uint64_t last_sent_us_ = 0;

  uint16_t sequence_ = 0;  // of the request being executed
  // the last request executed, and its response
  bool kept_ = false;
  uint16_t kept_sequence_ = 0;
  uint32_t kept_crc_ = 0;
  size_t response_bytes_ = 0;
  uint8_t response_[kMaxPayload];
  uint8_t notice_[kMaxPayload];
  uint8_t encoded_[kMaxEncoded];
};

}  // namespace wire
}  // namespace tbft
