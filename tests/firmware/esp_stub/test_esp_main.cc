// main_esp.cc itself, started on the stand-ins: what a board with this wiring answers over its
// port.
#include <cstring>
#include <string>
#include <vector>

#include "app/esp_boards.h"
#include "check.h"
#include "esp_stub.h"
#include "hal_esp/esp_partition_flash.h"
#include "wire/frame.h"
#include "wire/messages.h"

extern "C" void app_main();

namespace {

namespace wire = tbft::wire;
using esp_stub::state;
using tbft::EspPartitionFlash;
using tbft::kEspBoard;

template <typename Request>
void add(const Request& request, uint16_t sequence, std::vector<uint8_t>* bytes) {
  uint8_t body[64];
  wire::BodyWriter out({body, sizeof body});
  CHECK(request.encode(out));
  uint8_t payload[wire::kMaxPayload];
  const size_t size = wire::make_payload(Request::kType, sequence, {body, out.size()}, payload);
  uint8_t encoded[wire::kMaxEncoded];
  const size_t length = wire::encode_frame({payload, size}, encoded);
  bytes->insert(bytes->end(), encoded, encoded + length);
}

struct Frame {
  uint8_t type;
  std::vector<uint8_t> body;
};

}  // namespace

int main() {
  esp_stub::reset();
  state().now_us = 5'000'000;
  state().reset_reason = ESP_RST_BROWNOUT;
  esp_stub::add_partition(EspPartitionFlash::kArtifact, 1U << 20);
  esp_stub::add_partition(EspPartitionFlash::kWeights, 768U << 10);
  esp_stub::add_partition(EspPartitionFlash::kSchedule, 16U << 10);
  esp_stub::add_partition(EspPartitionFlash::kSamples, 448U << 10);
  esp_stub::add_partition(EspPartitionFlash::kCache, 1U << 20);
  state().internal_blocks = {110'000, 180'000, 20'000};
  if (strcmp(kEspBoard.name, "esp32c3") != 0) state().psram_blocks = {2U << 20};

  // All requests are there when the program starts; when it has read them, the port ends.
  std::vector<uint8_t> requests = {0};
  add(wire::AbortRequest(), 1, &requests);
  add(wire::IdentifyRequest(), 2, &requests);
  add(wire::SensorListRequest(), 3, &requests);
  add(wire::SensorStartRequest(), 4, &requests);  // nothing is on the bus
  add(wire::ArtifactBeginRequest(), 5, &requests);
  add(wire::BoardStatusRequest(), 6, &requests);
  state().usb.ring = requests;
  state().uart[0].ring = requests;
  app_main();

  const std::vector<uint8_t>& sent = kEspBoard.usb_serial ? state().usb.sent : state().uart[0].sent;
  CHECK((kEspBoard.usb_serial ? state().uart[0].sent : state().usb.sent).empty());
  wire::FrameDecoder decoder;
  std::vector<Frame> frames;
  for (const uint8_t byte : sent) {
    if (decoder.push(byte) == wire::FrameResult::kFrame) {
      const wire::FrameView view = decoder.frame();
      frames.push_back({view.type, {view.body.begin(), view.body.end()}});
    }
  }
  CHECK(frames.size() == 7);
  if (frames.size() != 7) return verdict();
  const std::string line(frames[0].body.begin() + 1, frames[0].body.end());
  CHECK(frames[0].type == wire::Log::kType);
  CHECK(line == "started: the supply broke down; no artifact");
  CHECK(frames[1].type == wire::AbortResponse::kType);
  CHECK(frames[2].type == wire::IdentifyResponse::kType);
  CHECK(strcmp(reinterpret_cast<const char*>(frames[2].body.data() + 8), kEspBoard.name) == 0);
  const uint32_t clock_hz = tbft::load_u32(frames[2].body.data() + 104);
  const uint32_t arena_limit = tbft::load_u32(frames[2].body.data() + 108);
  CHECK(clock_hz == 240'000'000);
  // The two larger pieces of internal RAM, less what must stay, and PSRAM where there is some.
  const bool psram = !state().psram_blocks.empty();
  CHECK(arena_limit > (psram ? 1'800'000U : 280'000U));
  CHECK(arena_limit < (psram ? 2'000'000U : 310'000U));
  CHECK(tbft::load_u32(frames[2].body.data() + 120) == 1U << 20);  // room for an artifact
  CHECK(frames[3].type == wire::SensorListResponse::kType);
  CHECK(frames[3].body.size() == (kEspBoard.power_feather ? 5U : 3U) * 20);
  CHECK(frames[4].type == wire::Error::kType && frames[4].body[0] == 151);
  CHECK(frames[5].type == wire::ArtifactBeginResponse::kType);
  CHECK(frames[6].type == wire::BoardStatusResponse::kType);

  CHECK(state().tasks == 1);  // the sampler's
  CHECK(state().lines[kEspBoard.trigger_pins[0]].configured);
  CHECK(state().sda == kEspBoard.sda_pin && state().scl == kEspBoard.scl_pin);
  if (kEspBoard.bus_supply_pin >= 0) CHECK(state().lines[kEspBoard.bus_supply_pin].driven == 1);
  return verdict();
}
