// Read-only view of an artifact (docs/artifact.md). parse() checks everything once; afterwards the
// accessors trust the bytes.
#pragma once

#include <cstdint>

#include "runtime/span.h"
#include "runtime/status.h"

namespace tbft {

constexpr uint32_t kNone = 0xffff;            // "no tensor", "no trained node", "no shift state"
constexpr uint32_t kMaxErrorExponents = 512;  // runtime slots, int16 each
constexpr uint32_t kMaxShiftStates = 256;     // uint8 each
constexpr uint32_t kMaxClasses = 1024;
constexpr uint32_t kMaxTrained = 256;
constexpr uint32_t kMaxRegions = 4;  // of the arena
constexpr uint32_t kStorageAlignment = 16;

enum class Place : uint8_t { kArena = 0, kConst = 1 };
enum class ElementType : uint8_t { kInt8 = 0, kInt16 = 1, kInt32 = 2, kBits = 3, kUint8 = 4 };
enum class Role : uint16_t {
  kActivation = 0,
  kError = 1,
  kWeights = 2,
  kBias = 3,
  kMultipliers = 4,
  kShifts = 5,
  kFactors = 6,
  kMask = 7,
  kAccumulator = 8,
  kRho = 9,
  kRowExponents = 10,
};

struct Tensor {
  Place place = Place::kArena;
  ElementType type = ElementType::kInt8;
  Role role = Role::kActivation;
  uint32_t shape[4] = {1, 1, 1, 1};  // (1, H, W, C), weights (O, kh, kw, I)
  uint32_t region = 0;               // of the arena
  uint32_t offset = 0;               // within the region, or CONST
  uint32_t bytes = 0;
  int32_t zero_point = 0;
  uint32_t exponent_slot = kNone;

  uint64_t elements() const { return uint64_t{shape[0]} * shape[1] * shape[2] * shape[3]; }
};

enum class Opcode : uint8_t {
  kConv2d = 1,
  kDepthwiseConv2d = 2,
  kAdd = 3,
  kAveragePool = 4,
  kMaxPool = 5,
  kChannelPad = 6,
  kMask = 7,
  kLinearLoss = 8,
  kConv2dBwdInput = 16,
  kDepthwiseBwdInput = 17,
  kConv2dBwdWeight = 18,
  kDepthwiseBwdWeight = 19,
  kMaskBwd = 20,
  kReluBwd = 21,
  kErrorAdd = 22,
  kAveragePoolBwd = 23,
  kMaxPoolBwd = 24,
  kChannelPadBwd = 25,
  kErrorCopy = 26,
  kAffineBwd = 27,
};

struct Op {
  Opcode opcode = Opcode::kConv2d;
  uint32_t flags = 0;
  bool training_only = false;  // flags bit 0
  uint32_t in0 = kNone, in1 = kNone, in2 = kNone, out = kNone;
  uint32_t weights = kNone, bias = kNone, multipliers = kNone, shifts = kNone;
  uint32_t kernel_h = 0, kernel_w = 0, stride_h = 0, stride_w = 0;
  uint32_t pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  int32_t act_min = -128, act_max = 127;
  uint32_t shift_state = kNone;
  uint32_t trained = kNone;
  int32_t t = 0;
  uint32_t scratch_region = 0;
  uint32_t scratch_offset = 0;  // within the region
  uint32_t scratch_bytes = 0;
  int32_t numbers[3] = {0, 0, 0};
};

enum class TrainedKind : uint16_t { kConv2d = 0, kDepthwise = 1, kAffine = 2 };

struct TrainedRecord {
  TrainedKind kind = TrainedKind::kConv2d;
  uint32_t block = 0;
  uint32_t weights = kNone, bias = kNone;                  // arena
  uint32_t initial_weights = kNone, initial_bias = kNone;  // CONST
  uint32_t rho_weights = kNone, rho_bias = kNone;          // CONST
  uint32_t weight_accumulator = kNone, bias_accumulator = kNone, row_exponents = kNone;
  uint32_t rows = 0, row_length = 0;
};

struct Program {
  uint32_t first = 0;
  uint32_t count = 0;
};
enum class ProgramKind : uint32_t { kPrefix = 0, kTail = 1, kBackward = 2 };

struct BlockRecord {
  Span<const uint8_t> name;  // 16 bytes, NUL-padded
  bool trained = false;
  uint32_t parameters = 0;
};

struct RegionSize {
  uint32_t bytes = 0;
  uint32_t persistent_bytes = 0;  // its first bytes, kept between samples
};

struct Header {
  Span<const uint8_t> model_hash;                                   // 32 bytes
  uint32_t total_bytes = 0, arena_bytes = 0, persistent_bytes = 0;  // of all regions together
  RegionSize regions[kMaxRegions];
  uint32_t error_exponents = 0, shift_states = 0;
  bool immediate = false;
  uint32_t input = 0, boundary = 0, output = 0, classes = 0;
  int32_t loss_multiplier = 0, loss_shift = 0;
};

struct Section {
  uint32_t offset = 0, bytes = 0, count = 0;
  bool present = false;
};

class Artifact {
 public:
  // Validates `bytes`. On failure the view is empty; Status::record is the record that failed.
  Status parse(Span<const uint8_t> bytes);

  const Header& header() const { return header_; }
  uint32_t tensors() const { return tensors_.count; }
  uint32_t ops() const { return ops_.count; }
  uint32_t trained_count() const { return trained_.count; }
  uint32_t blocks() const { return blocks_.count; }
  uint32_t const_bytes() const { return const_.bytes; }
  uint32_t self_tests() const { return self_test_.count; }

  Tensor tensor(uint32_t index) const;  // index < tensors(), and so on
  Op op(uint32_t index) const;
  TrainedRecord trained(uint32_t index) const;
  Program program(ProgramKind kind) const;
  BlockRecord block(uint32_t index) const;
  Span<const uint8_t> meta() const { return section_bytes(meta_); }
  // Bytes of a CONST tensor.
  const uint8_t* constant(const Tensor& tensor) const {
    return bytes_.data() + const_.offset + tensor.offset;
  }
  // Self-test vector: its input and expected logits (int8).
  Span<const uint8_t> self_test_input(uint32_t index) const;
  Span<const uint8_t> self_test_logits(uint32_t index) const;

 private:
  Status parse_header();
  Status parse_regions();
  Status parse_sections();
  Status check_model_hash() const;
  Status check_programs() const;
  Status check_blocks() const;
  Status check_self_test() const;
  uint64_t self_test_record_bytes() const;
  Span<const uint8_t> section_bytes(const Section& section) const {
    return bytes_.subspan(section.offset, section.bytes);
  }
  const uint8_t* record(const Section& section, uint32_t index, uint32_t record_bytes) const {
    return bytes_.data() + section.offset + size_t{index} * record_bytes;
  }

  Span<const uint8_t> bytes_;
  Header header_;
  Section const_, tensors_, ops_, programs_, trained_, blocks_, meta_, self_test_;
};

}  // namespace tbft
