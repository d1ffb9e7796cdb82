#include "runtime/status.h"

namespace tbft {

const char* to_string(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
      return "no error";
    case StatusCode::kNotLoaded:
      return "no artifact is loaded";
    case StatusCode::kWrongMode:
      return "the loaded artifact has no trained block";
    case StatusCode::kBadArgument:
      return "the data has the wrong size";
    case StatusCode::kBadSlot:
      return "the sample cache has no such slot";
    case StatusCode::kEmptySlot:
      return "the cache slot holds no sample";
    case StatusCode::kCacheFull:
      return "the board has no sample cache, or none large enough for one sample";
    case StatusCode::kCacheFailed:
      return "the sample cache could not be read or written";
    case StatusCode::kBadLabel:
      return "the label is not below the number of classes";
    case StatusCode::kBadLearningRate:
      return "the learning rate is not a normalised pair";
    case StatusCode::kOutOfRange:
      return "the tensor number or byte range does not exist";
    case StatusCode::kBadWeightValue:
      return "a weight is outside [-127, 127] or a bias outside +-2^30";
    case StatusCode::kSelfTestFailed:
      return "a self-test vector gave other logits than it should";
    case StatusCode::kTruncated:
      return "the artifact is shorter than it says";
    case StatusCode::kMisaligned:
      return "the artifact or the arena is not aligned to 16 bytes";
    case StatusCode::kBadMagic:
      return "the data is not an artifact";
    case StatusCode::kBadVersion:
      return "the artifact has a format version that this firmware does not read";
    case StatusCode::kBadLength:
      return "the artifact's length field is impossible";
    case StatusCode::kBadCrc:
      return "the artifact's checksum does not match its content";
    case StatusCode::kBadHeader:
      return "the artifact's header holds an impossible value";
    case StatusCode::kBadSection:
      return "a section lies outside the artifact or has the wrong size";
    case StatusCode::kMissingSection:
      return "a section is missing from the artifact";
    case StatusCode::kBadModelHash:
      return "the artifact's model hash does not match its content";
    case StatusCode::kArenaTooSmall:
      return "the model needs more arena than this board has";
    case StatusCode::kTooManyExponents:
      return "the model needs more error exponents than this firmware keeps";
    case StatusCode::kTooManyStates:
      return "the model needs more shift states than this firmware keeps";
    case StatusCode::kRegionTooSmall:
      return "no memory region of this board has room for a region of the model's plan";
    case StatusCode::kTensorField:
      return "a tensor has an unknown or unfit place, type, role or field";
    case StatusCode::kTensorShape:
      return "a tensor's shape does not match its bytes";
    case StatusCode::kTensorOutside:
      return "a tensor lies outside its part of the memory";
    case StatusCode::kTensorAlignment:
      return "a tensor is not aligned";
    case StatusCode::kTensorValues:
      return "a constant tensor holds a forbidden value";
    case StatusCode::kOpUnknown:
      return "an op is of an unknown kind";
    case StatusCode::kOpTensor:
      return "an op names a tensor that does not exist or does not fit";
    case StatusCode::kOpGeometry:
      return "an op's shapes do not fit together";
    case StatusCode::kOpLimit:
      return "an op exceeds what its kernel can do";
    case StatusCode::kOpNumber:
      return "an op has a number outside its range";
    case StatusCode::kOpScratch:
      return "an op's scratch memory is too small or outside the arena";
    case StatusCode::kOpOverlap:
      return "an op's tensors overlap";
    case StatusCode::kOpPersistent:
      return "an op writes into memory that is kept between samples";
    case StatusCode::kOpOrder:
      return "an op stands where it may not stand";
    case StatusCode::kBadProgram:
      return "a program lies outside the list of ops";
    case StatusCode::kBadTrained:
      return "a trained tensor's record is inconsistent";
    case StatusCode::kBadBlock:
      return "a block's record is inconsistent";
    case StatusCode::kBadSelfTest:
      return "a self-test vector is inconsistent";
    case StatusCode::kFlashGeometry:
      return "the flash area is too small for two weight checkpoints";
    case StatusCode::kFlashErase:
      return "the flash could not be erased";
    case StatusCode::kFlashProgram:
      return "the flash could not be written";
    case StatusCode::kFlashRead:
      return "the flash could not be read";
    case StatusCode::kFlashVerify:
      return "the flash does not hold what was written";
    case StatusCode::kNoCheckpoint:
      return "the flash holds no weights for this model";
    case StatusCode::kScheduleSize:
      return "the schedule has no entry, or more than the board keeps";
    case StatusCode::kScheduleAction:
      return "an entry of the schedule has an action that this firmware does not know";
    case StatusCode::kScheduleCondition:
      return "an entry of the schedule has a condition that this firmware does not know";
    case StatusCode::kSchedulePeriod:
      return "an entry of the schedule has a period of 0, or a time beyond 31 days";
    case StatusCode::kScheduleHours:
      return "an entry of the schedule has quiet hours outside the day";
    case StatusCode::kScheduleTraining:
      return "an entry of the schedule has numbers of samples, epochs or batch that do not fit";
    case StatusCode::kScheduleRate:
      return "an entry of the schedule has a learning rate that is 0 or not normalised";
    case StatusCode::kScheduleBattery:
      return "an entry of the schedule asks for more than 100 % of the battery";
    case StatusCode::kScheduleBatteryUnknown:
      return "an entry of the schedule asks for a battery reading that this board does not have";
    case StatusCode::kNoSchedule:
      return "the flash holds no schedule";
    case StatusCode::kStoreGeometry:
      return "the flash area is too small for samples of this size";
    case StatusCode::kStoreForeign:
      return "the sample store holds samples of another size; start with an empty store";
    case StatusCode::kStoreDamaged:
      return "the stored sample is damaged";
    case StatusCode::kNoSample:
      return "no such sample is stored";
    case StatusCode::kLabelled:
      return "the sample has another label already";
    case StatusCode::kSampleFailed:
      return "the sensor gave no sample";
    case StatusCode::kOtherModel:
      return "the schedule was started with another network; start it again";
    case StatusCode::kDutyMode:
      return "duty-cycled operation is not stopped, or has nothing to resume";
  }
  return "unknown error";
}

}  // namespace tbft
