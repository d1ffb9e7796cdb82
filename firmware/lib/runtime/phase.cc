#include "runtime/phase.h"

namespace tbft {

const char* to_string(Phase phase) {
  switch (phase) {
    case Phase::kIdle:
      return "idle";
    case Phase::kLoad:
      return "load";
    case Phase::kFrozenForward:
      return "frozen_forward";
    case Phase::kTrainForward:
      return "train_forward";
    case Phase::kBackward:
      return "backward";
    case Phase::kUpdate:
      return "update";
    case Phase::kCommit:
      return "commit";
    case Phase::kSleep:
      return "sleep";
    case Phase::kInfer:
      return "infer";
  }
  return "unknown";
}

}  // namespace tbft
