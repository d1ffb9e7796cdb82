// Duty-cycled operation put together: what a main_*.cc adds to its BoardApp.
#pragma once

#include <cstdint>

#include "duty/scheduler.h"
#include "hal/battery.h"
#include "hal/flash.h"
#include "hal/replay_memory.h"
#include "hal/sample_source.h"
#include "hal/sleep.h"
#include "runtime/span.h"
#include "wire/counting_flash.h"
#include "wire/dispatcher.h"
#include "wire/event_recorder.h"

namespace tbft {

// All of it outlives the DutyApp.
struct DutyParts {
  Sleep& sleep;
  SampleSource& source;
  Battery* battery;       // may be null
  ReplayMemory* replay;   // null where the source is a sensor
  Flash& schedule_flash;  // at least two erase blocks of 512 bytes or more
  Flash& sample_flash;    // at least four segments (docs/duty.md)
  Span<int8_t> input;     // the same as the dispatcher's
  Span<duty::StoredSample> index;
  Span<duty::TuneItem> items;
  Span<wire::DutyEvent> events;
};

class DutyApp {
 public:
  DutyApp(const DutyParts& parts, Engine& engine, Checkpoint& checkpoint,
          wire::EventRecorder& recorder, wire::Dispatcher& dispatcher)
      : schedule_flash_(parts.schedule_flash, recorder),
        sample_flash_(parts.sample_flash, recorder),
        schedule(&schedule_flash_),
        samples(&sample_flash_, parts.index),
        scheduler({engine, checkpoint, schedule, samples, parts.source, parts.battery, parts.sleep,
                   &recorder},
                  parts.input, parts.items),
        engine_(engine) {
    dispatcher.set_duty({&scheduler, parts.replay, parts.events});
  }

  // After the artifact of the board's own flash was loaded, or not: goes on where it was on duty,
  // and says over the port what came of it.
  void boot() {
    if (engine_.loaded()) (void)scheduler.boot();
  }

 private:
  wire::CountingFlash schedule_flash_;
  wire::CountingFlash sample_flash_;

 public:
  duty::ScheduleStore schedule;
  duty::SampleStore samples;
  duty::Scheduler scheduler;

 private:
  Engine& engine_;
};

}  // namespace tbft
