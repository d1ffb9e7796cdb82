// Executes the requests of the wire protocol (docs/protocol.md) on an engine. No heap; all buffers
// are members or the caller's.
#pragma once

#include <cstdint>

#include "duty/scheduler.h"
#include "hal/byte_stream.h"
#include "hal/clock.h"
#include "hal/replay_memory.h"
#include "runtime/checkpoint.h"
#include "runtime/engine.h"
#include "runtime/span.h"
#include "wire/artifact_loader.h"
#include "wire/event_recorder.h"
#include "wire/frame.h"
#include "wire/messages.h"
#include "wire/sensor_sampler.h"

namespace tbft {
namespace wire {

// What Identify tells about the board. NUL-terminated, at most 31 bytes are sent of either name.
struct BoardInfo {
  const char* board = "";
  const char* firmware = "";
  uint32_t clock_hz = 0;  // 0: unknown
  // What the program takes of the board, in bytes; 0: unknown.
  uint32_t flash_bytes = 0;
  uint32_t static_ram_bytes = 0;
  uint32_t static_psram_bytes = 0;
  uint32_t stack_bytes = 0;
  uint32_t (*stack_used_bytes)() = nullptr;
};

enum class LogLevel : uint8_t { kDebug = 0, kInfo = 1, kWarning = 2, kError = 3 };

// Duty-cycled operation as the port sees it.
struct DutyPort {
  duty::Scheduler* scheduler = nullptr;
  ReplayMemory* replay = nullptr;  // null: the board takes its own samples
  Span<DutyEvent> events;          // memory of the last ones
};

class Dispatcher final : private EventRecorder::Hook, private duty::EventListener {
 public:
  // `input` is room for one input; `checkpoint` may be null. The engine's listener must be
  // `events`.
  Dispatcher(const BoardInfo& board, Engine& engine, ArtifactLoader& loader, Checkpoint* checkpoint,
             EventRecorder& events, Span<int8_t> input, ByteStream& stream, Clock& clock);

  // Current sensors that can be sampled over the port; without, there are none. They must outlive
  // the dispatcher.
  void set_sensors(SensorSampler* sensors) { sensors_ = sensors; }

  // Duty-cycled operation, which goes on between requests; without, there is none. The scheduler
  // must outlive the dispatcher, whose events it tells from now on.
  void set_duty(const DutyPort& duty);

  // Waits up to `timeout_ms` for bytes and handles what comes; does one sample of a long request,
  // or one step of duty-cycled operation.
  // False when the stream is closed.
  bool poll(uint32_t timeout_ms);
  // The same for bytes that are there already.
  void receive(Span<const uint8_t> bytes);
  // Does one sample of the long request in progress, or one step of duty-cycled operation; false
  // when there is neither.
  bool step();
  // A line for people, without line end; what does not fit a frame is cut off.
  void log(LogLevel level, const char* text);

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
  void on_event(const duty::Event& event) override;
  void on_text(bool failure, const char* what, Status why) override;
  static Outcome while_busy(const FrameView& frame);
  void handle(const FrameView& frame);
  void execute(const FrameView& frame);
  template <typename Request>
  void decode_and_run(const FrameView& frame);

  // One per request; each answers, or starts the job.
  void run(const IdentifyRequest& request);
  void run(const AbortRequest& request);
  void run(const ConfigureRequest& request);
  void run(const BoardStatusRequest& request);
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
  void run(const DutyWriteScheduleRequest& request);
  void run(const DutyReadScheduleRequest& request);
  void run(const DutyStartRequest& request);
  void run(const DutyStopRequest& request);
  void run(const DutyStatusRequest& request);
  void run(const DutyLabelsRequest& request);
  void run(const DutyReadEventsRequest& request);
  void run(const DutySamplesRequest& request);
  void run(const DutyReadSampleRequest& request);
  void run(const ReplaySampleRequest& request);
  void run(const ReplayBatteryRequest& request);
  void run(const SensorListRequest& request);
  void run(const SensorStartRequest& request);
  void run(const SensorStopRequest& request);

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
  // What duty-cycled operation forbids while it runs, and all of it where there is none.
  Outcome while_on_duty(uint8_t type) const;
  uint32_t duty_wait_ms(uint32_t timeout_ms);
  bool step_duty();
  uint32_t oldest_duty_event() const;
  uint32_t write_duty_events(uint32_t first, BodyWriter* out) const;
  void send_duty_events(bool all);
  void serve_sensors();
  void send_readings(bool all);

  const BoardInfo board_;
  Engine& engine_;
  ArtifactLoader& loader_;
  Checkpoint* checkpoint_;
  EventRecorder& events_;
  Span<int8_t> input_;
  ByteStream& stream_;
  Clock& clock_;
  SensorSampler* sensors_ = nullptr;
  DutyPort duty_;

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
  // duty-cycled operation: events so far and sent, whether they are; when the host was last heard
  uint32_t duty_events_ = 0;
  uint32_t duty_events_sent_ = 0;
  bool duty_report_ = false;
  bool in_duty_step_ = false;
  uint64_t heard_us_ = 0;
  // readings sent since SensorStart, when the last went, and whether their end was told
  uint32_t sensor_number_ = 0;
  uint64_t sensor_sent_us_ = 0;
  bool sensor_failed_ = false;

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
