// Time that sleeping makes pass, and the sensor and battery that replay.
#include <cstdio>
#include <cstring>

#include "hal_virtual/replay.h"
#include "hal_virtual/virtual_time.h"

namespace {

using namespace tbft;

int failures = 0;

void expect(bool fine, const char* what, int line) {
  if (fine) return;
  fprintf(stderr, "test_hal_virtual.cc:%d: %s\n", line, what);
  ++failures;
}
#define EXPECT(condition) expect((condition), #condition, __LINE__)

class HandClock final : public Clock {
 public:
  uint64_t now_us() override { return now; }
  uint64_t now = 123'456;
};

void test_time() {
  HandClock real;
  VirtualTime time(real);
  const uint64_t start = time.now_us();
  EXPECT(start != 0);
  real.now += 5;
  EXPECT(time.now_us() == start + 5);
  EXPECT(time.until(start + 1'000'000'000'000));
  EXPECT(time.now_us() == start + 1'000'000'000'000);
  EXPECT(time.until(start));
  EXPECT(time.now_us() == start + 1'000'000'000'000);
  real.now += 7;
  EXPECT(time.now_us() == start + 1'000'000'000'007);
}

void test_samples() {
  uint8_t memory[40];
  Replay replay(memory, sizeof memory, nullptr, 0);
  const int8_t first[8] = {1, -2, 3, -4, 5, -6, 7, -128};
  const int8_t second[8] = {9, 9, 9, 9, 9, 9, 9, 9};
  int8_t out[8];
  uint16_t label = 0;
  EXPECT(!replay.ready() && !replay.take(0, 0, out, 8) && !replay.label(0, 0, 100, &label));
  EXPECT(replay.sample_limit(8) == 2);
  EXPECT(!replay.put_sample(1, first, 8, 0, 0));
  EXPECT(replay.put_sample(0, first, 8, 3, 60) && replay.ready());
  EXPECT(!replay.put_sample(1, second, 7, 0, 0));
  EXPECT(replay.put_sample(1, second, 8, ReplayMemory::kNoLabel, 0));
  EXPECT(!replay.put_sample(2, second, 8, 0, 0) && replay.samples() == 2);
  EXPECT(replay.take(4, 0, out, 8) && memcmp(out, first, 8) == 0);
  EXPECT(replay.take(5, 0, out, 8) && memcmp(out, second, 8) == 0);
  EXPECT(!replay.take(0, 0, out, 7));
  EXPECT(!replay.label(4, 1000, 1059, &label));
  EXPECT(replay.label(4, 1000, 1060, &label) && label == 3);
  EXPECT(!replay.label(4, 1000, 900, &label));
  EXPECT(!replay.label(5, 0, UINT32_MAX, &label));
  EXPECT(replay.put_sample(0, second, 4, 1, 0) && replay.samples() == 1);
  EXPECT(replay.take(9, 0, out, 4) && out[0] == 9);
}

void test_battery() {
  BatteryPoint points[3];
  Replay replay(nullptr, 0, points, 3);
  BatteryState state;
  EXPECT(!replay.knows_mv() && !replay.knows_percent() && !replay.read(0, &state));
  EXPECT(replay.put_battery(0, 100, 3600, 20) && replay.knows_mv() && replay.knows_percent());
  EXPECT(!replay.put_battery(1, 100, 3700, 20) && !replay.put_battery(1, 200, 3700, 101));
  EXPECT(!replay.put_battery(2, 300, 3700, 20));
  EXPECT(replay.put_battery(1, 300, 4000, 60) && replay.put_battery(2, 400, 3500, 10));
  EXPECT(!replay.put_battery(3, 500, 3500, 10));
  EXPECT(replay.read(0, &state) && state.mv == 3600 && state.percent == 20);
  EXPECT(replay.read(200, &state) && state.mv == 3800 && state.percent == 40);
  EXPECT(replay.read(300, &state) && state.mv == 4000 && state.percent == 60);
  EXPECT(replay.read(350, &state) && state.mv == 3750 && state.percent == 35);
  EXPECT(replay.read(UINT32_MAX, &state) && state.mv == 3500 && state.percent == 10);
  EXPECT(replay.put_battery(0, 0, 4000, BatteryState::kUnknownPercent));
  EXPECT(replay.knows_mv() && !replay.knows_percent());
}

}  // namespace

int main() {
  test_time();
  test_samples();
  test_battery();
  if (failures == 0) printf("test_hal_virtual: all passed\n");
  return failures == 0 ? 0 : 1;
}
