// Current sensors over the wire: listed, started, sampled at their time, stopped, and a bus that
// gets stuck while they are.
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "fake_bus.h"
#include "hal_memory/ram_sample_cache.h"
#include "runtime/engine.h"
#include "sensors/ina226.h"
#include "wire/dispatcher.h"
#include "wire/sensor_sampler.h"

namespace {

namespace wire = tbft::wire;

class TestClock final : public tbft::Clock {
 public:
  uint64_t now_us() override { return us; }
  uint64_t us = 1'000'000;
};

// What the dispatcher sends, decoded; nothing ever arrives by itself.
class Wire final : public tbft::ByteStream {
 public:
  struct Frame {
    uint8_t type;
    uint16_t sequence;
    std::vector<uint8_t> body;
  };
  explicit Wire(TestClock& clock) : clock_(clock) {}
  int32_t read(uint8_t*, size_t, uint32_t timeout_ms) override {
    waited_ms = timeout_ms;
    clock_.us += uint64_t{timeout_ms} * 1000;
    return 0;
  }
  bool write(const uint8_t* data, size_t size) override {
    for (size_t i = 0; i < size; ++i) {
      if (decoder_.push(data[i]) == wire::FrameResult::kFrame) {
        const wire::FrameView view = decoder_.frame();
        frames.push_back({view.type, view.sequence, {view.body.begin(), view.body.end()}});
      }
    }
    return true;
  }
  std::vector<Frame> frames;
  uint32_t waited_ms = 0;

 private:
  TestClock& clock_;
  wire::FrameDecoder decoder_;
};

// An INA226 with a reading ready at every question.
void make_sensor(FakeBus* bus) {
  bus->set(0x40, 0xfe, 0x5449, 2);
  bus->set(0x40, 0xff, 0x2260, 2);
  bus->set(0x40, 0x06, 1 << 3, 2);
  bus->set(0x40, 0x01, 0, 2);
  bus->set(0x40, 0x02, 2640, 2);
}

struct Board {
  TestClock clock;
  Wire port{clock};
  FakeBus bus;
  tbft::Ina226 sensor{bus, 0x40, {100'000, 0, 0}};
  tbft::CurrentSensor* list[1] = {&sensor};
  wire::CurrentRecord ring[200];
  wire::SensorSampler sampler{clock, {list, 1}, {ring, 200}};
  alignas(16) uint8_t arena[64] = {};
  uint8_t cache_memory[64] = {};
  int8_t input[64] = {};
  tbft::RamSampleCache cache{cache_memory, sizeof cache_memory};
  wire::EventRecorder events{clock, nullptr, {}};
  tbft::Engine engine{{arena, sizeof arena}, &cache, &events};
  alignas(16) uint8_t artifact[64] = {};
  wire::RamArtifactStore store{{artifact, sizeof artifact}};
  wire::ArtifactLoader loader{engine, store, nullptr};
  wire::Dispatcher dispatcher{{},   engine, loader, nullptr, events, {input, sizeof input},
                              port, clock};
  uint16_t sequence = 7;

  Board() { make_sensor(&bus); }

  template <typename Request>
  void send(const Request& request) {
    uint8_t body[64];
    wire::BodyWriter out({body, sizeof body});
    CHECK(request.encode(out));
    uint8_t payload[wire::kMaxPayload];
    const size_t size = wire::make_payload(Request::kType, ++sequence, {body, out.size()}, payload);
    uint8_t encoded[wire::kMaxEncoded];
    dispatcher.receive({encoded, wire::encode_frame({payload, size}, encoded)});
  }
  // The last frame of this type; an empty body when there was none.
  std::vector<uint8_t> last(uint8_t type) const {
    for (size_t i = port.frames.size(); i-- > 0;) {
      if (port.frames[i].type == type) return port.frames[i].body;
    }
    return {};
  }
  size_t count(uint8_t type) const {
    size_t n = 0;
    for (const Wire::Frame& frame : port.frames) n += frame.type == type ? 1 : 0;
    return n;
  }
};

uint32_t u32(const std::vector<uint8_t>& body, size_t at) {
  return at + 4 <= body.size() ? tbft::load_u32(body.data() + at) : 0xdeadbeef;
}

std::vector<wire::CurrentRecord> readings(const Board& board) {
  std::vector<wire::CurrentRecord> all;
  for (const Wire::Frame& frame : board.port.frames) {
    if (frame.type != wire::CurrentSamples::kType) continue;
    CHECK(u32(frame.body, 0) == all.size());  // numbered without a gap
    for (size_t at = 8; at < frame.body.size(); at += wire::CurrentRecord::kFixedBytes) {
      wire::CurrentRecord record;
      record.clock_us = u32(frame.body, at);
      record.current_ua = static_cast<int32_t>(u32(frame.body, at + 4));
      record.voltage_uv = static_cast<int32_t>(u32(frame.body, at + 8));
      record.flags = frame.body[at + 12];
      all.push_back(record);
    }
  }
  return all;
}

void test_without() {
  Board board;
  board.send(wire::SensorListRequest());
  CHECK(board.count(wire::SensorListResponse::kType) == 1);
  CHECK(board.last(wire::SensorListResponse::kType).empty());
  board.send(wire::SensorStartRequest());
  CHECK(board.last(wire::Error::kType)[0] == 150);
  board.send(wire::SensorStopRequest());
  CHECK(u32(board.last(wire::SensorStopResponse::kType), 0) == 0);
}

void test_sampling() {
  Board board;
  board.dispatcher.set_sensors(&board.sampler);
  board.send(wire::SensorListRequest());
  const std::vector<uint8_t> list = board.last(wire::SensorListResponse::kType);
  CHECK(list.size() == wire::SensorRecord::kFixedBytes && u32(list, 0) == 280);
  CHECK(strcmp(reinterpret_cast<const char*>(list.data() + 4), "INA226") == 0);

  wire::SensorStartRequest start;
  start.sensor = 1;
  board.send(start);
  CHECK(board.last(wire::Error::kType)[0] == 150);
  start.sensor = 0;
  start.period_us = 10;  // faster than the sensor
  board.send(start);
  CHECK(u32(board.last(wire::SensorStartResponse::kType), 0) == 280);
  start.period_us = 2000;
  board.send(start);
  CHECK(u32(board.last(wire::SensorStartResponse::kType), 0) == 2000);

  // Half a second: 250 readings, stamped and in order, a tenth of a second in a notice at most.
  const uint64_t from = board.clock.us;
  int32_t wave = 0;
  while (board.clock.us < from + 500'000) {
    board.bus.set(0x40, 0x01, static_cast<uint16_t>(++wave), 2);
    CHECK(board.dispatcher.poll(1000));
    CHECK(board.port.waited_ms == 1);  // not a second, which would be 500 readings
  }
  board.send(wire::SensorStopRequest());
  const std::vector<uint8_t> stop = board.last(wire::SensorStopResponse::kType);
  const std::vector<wire::CurrentRecord> all = readings(board);
  CHECK(all.size() == 250 && u32(stop, 0) == 250 && u32(stop, 4) == 0);
  CHECK(board.count(wire::CurrentSamples::kType) == 5);
  for (size_t i = 1; i < all.size(); ++i) {
    CHECK(all[i].clock_us - all[i - 1].clock_us == 2000);
    CHECK(all[i].current_ua - all[i - 1].current_ua == 50);  // two steps of 2.5 µV over 0.1 Ω
  }
  CHECK(all[0].clock_us == from + 2000 && all[0].voltage_uv == 3'300'000 && all[0].flags == 0);
  const size_t frames = board.port.frames.size();
  for (int i = 0; i < 500; ++i) board.dispatcher.poll(1000);
  CHECK(board.port.frames.size() == frames && board.port.waited_ms == 1000);
}

void test_late_and_full() {
  Board board;
  uint32_t period_us = 1000;
  CHECK(board.sampler.start(0, &period_us) == tbft::SensorStatus::kOk);
  board.clock.us += 10'500;  // the network computed: nine readings are left out, not made up for
  board.sampler.poll();
  board.sampler.poll();
  CHECK(board.sampler.taken() == 1);
  board.clock.us += 500;
  board.sampler.poll();
  CHECK(board.sampler.taken() == 2 && board.sampler.kept() == 2);
  for (int i = 0; i < 300; ++i) {
    board.clock.us += 1000;
    board.sampler.poll();
  }
  CHECK(board.sampler.taken() == 302 && board.sampler.kept() == 199 && board.sampler.lost() == 103);
  board.sampler.pop();
  CHECK(board.sampler.kept() == 198);
  // Not ready: asked again, and nothing is counted.
  board.bus.set(0x40, 0x06, 0, 2);
  board.clock.us += 1000;
  board.sampler.poll();
  CHECK(board.sampler.taken() == 302 && board.sampler.running());
  board.sampler.stop();
  CHECK(!board.sampler.running() && board.sampler.kept() == 198);
}

void test_stuck_bus() {
  Board board;
  board.dispatcher.set_sensors(&board.sampler);
  wire::SensorStartRequest start;
  start.period_us = 1000;
  board.bus.stuck_for = -1;
  board.bus.frees = false;
  board.send(start);
  const std::vector<uint8_t> error = board.last(wire::Error::kType);
  CHECK(error[0] == 151 && u32(error, 2) == 3);
  CHECK(std::string(error.begin() + 6, error.end()).find("stuck") != std::string::npos);
  CHECK(!board.sampler.running());

  // Freed by hand, started, and stuck again while it samples: one line, and the board goes on.
  board.bus.stuck_for = 0;
  board.send(start);
  for (int i = 0; i < 10; ++i) board.dispatcher.poll(1000);
  board.bus.stuck_for = -1;
  for (int i = 0; i < 10; ++i) board.dispatcher.poll(1000);
  CHECK(board.count(wire::Log::kType) == 1);
  const std::vector<uint8_t> log = board.last(wire::Log::kType);
  CHECK(std::string(log.begin() + 1, log.end()).find("stuck") != std::string::npos);
  CHECK(!board.sampler.running() && readings(board).size() >= 8);
  board.send(wire::IdentifyRequest());
  CHECK(board.count(wire::IdentifyResponse::kType) == 1);

  // Abort ends sampling.
  board.bus.stuck_for = 0;
  board.send(start);
  CHECK(board.sampler.running());
  board.send(wire::AbortRequest());
  CHECK(!board.sampler.running());
}

}  // namespace

int main() {
  test_without();
  test_sampling();
  test_late_and_full();
  test_stuck_bus();
  return verdict();
}
