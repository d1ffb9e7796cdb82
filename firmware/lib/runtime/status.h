// Outcome of a runtime call: a code, and for artifact errors the number of the record that failed.
#pragma once

#include <cstdint>

namespace tbft {

// The numbers go over the wire: append, never renumber.
enum class StatusCode : uint16_t {
  kOk = 0,
  // Use of the engine.
  kNotLoaded = 1,
  kWrongMode = 2,
  kBadArgument = 3,
  kBadSlot = 4,
  kEmptySlot = 5,
  kCacheFull = 6,
  kCacheFailed = 7,
  kBadLabel = 8,
  kBadLearningRate = 9,
  kOutOfRange = 10,
  kBadWeightValue = 11,
  kSelfTestFailed = 12,
  // Artifact: the file as a whole.
  kTruncated = 32,
  kMisaligned = 33,
  kBadMagic = 34,
  kBadVersion = 35,
  kBadLength = 36,
  kBadCrc = 37,
  kBadHeader = 38,
  kBadSection = 39,
  kMissingSection = 40,
  kBadModelHash = 41,
  kArenaTooSmall = 42,
  kTooManyExponents = 43,
  kTooManyStates = 44,
  kRegionTooSmall = 45,  // record = region number
  // Artifact: record = tensor number.
  kTensorField = 48,
  kTensorShape = 49,
  kTensorOutside = 50,
  kTensorAlignment = 51,
  kTensorValues = 52,
  // Artifact: record = op number.
  kOpUnknown = 56,
  kOpTensor = 57,
  kOpGeometry = 58,
  kOpLimit = 59,
  kOpNumber = 60,
  kOpScratch = 61,
  kOpOverlap = 62,
  kOpPersistent = 63,
  kOpOrder = 64,
  // Artifact: record = program, trained or block number.
  kBadProgram = 72,
  kBadTrained = 73,
  kBadBlock = 74,
  kBadSelfTest = 75,
  // Weight checkpoint.
  kFlashGeometry = 80,
  kFlashErase = 81,
  kFlashProgram = 82,
  kFlashRead = 83,
  kFlashVerify = 84,
  kNoCheckpoint = 85,
  // Duty-cycled operation: the schedule; record = entry.
  kScheduleSize = 96,
  kScheduleAction = 97,
  kScheduleCondition = 98,
  kSchedulePeriod = 99,
  kScheduleHours = 100,
  kScheduleTraining = 101,
  kScheduleRate = 102,
  kScheduleBattery = 103,
  kScheduleBatteryUnknown = 104,
  kNoSchedule = 105,
  // The sample store; record = sample.
  kStoreGeometry = 106,
  kStoreForeign = 107,
  kStoreDamaged = 108,
  kNoSample = 109,
  kLabelled = 110,
  kSampleFailed = 111,
  kOtherModel = 112,
  kDutyMode = 113,
};

// A sentence fragment without capital or full stop, for "cannot load the artifact: <fragment>
// (record 12)".
const char* to_string(StatusCode code);

struct [[nodiscard]] Status {
  StatusCode code = StatusCode::kOk;
  uint32_t record = 0;

  constexpr Status() = default;
  constexpr Status(StatusCode c, uint32_t r = 0)
      : code(c), record(r) {}  // NOLINT: implicit on purpose
  constexpr bool ok() const { return code == StatusCode::kOk; }
};

}  // namespace tbft
