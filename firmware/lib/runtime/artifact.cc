#include "runtime/artifact.h"

#include <cstring>
#include <initializer_list>

#include "runtime/artifact_check.h"
#include "runtime/bytes.h"
#include "runtime/crc32.h"
#include "runtime/sha256.h"

namespace tbft {
namespace {

constexpr uint32_t kHeaderBytes = 128;
constexpr uint32_t kRegionTableAt = 96;
constexpr uint32_t kRegionBytes = 8;
constexpr uint32_t kSectionBytes = 16;
constexpr uint32_t kTensorBytes = 32;
constexpr uint32_t kOpBytes = 64;
constexpr uint32_t kProgramBytes = 16;
constexpr uint32_t kTrainedBytes = 64;
constexpr uint32_t kBlockBytes = 32;
constexpr uint32_t kVersion = 3;
constexpr uint32_t kMaxSections = 64;

}  // namespace

Status Artifact::parse(Span<const uint8_t> bytes) {
  *this = Artifact();
  bytes_ = bytes;
  Status status = parse_header();
  if (status.ok()) status = parse_sections();
  if (status.ok()) status = check_model_hash();
  if (status.ok()) status = check_tensors(*this);
  if (status.ok()) status = check_programs();
  if (status.ok()) status = check_blocks();
  if (status.ok()) status = check_trained(*this);
  if (status.ok()) status = check_ops(*this);
  if (status.ok()) status = check_self_test();
  if (!status.ok()) *this = Artifact();
  return status;
}

Status Artifact::parse_header() {
  const uint8_t* p = bytes_.data();
  if (bytes_.size() < kHeaderBytes) return StatusCode::kTruncated;
  if (reinterpret_cast<uintptr_t>(p) % kStorageAlignment != 0) return StatusCode::kMisaligned;
  if (memcmp(p, "TBFA", 4) != 0) return StatusCode::kBadMagic;
  if (load_u16(p + 4) != kVersion) return {StatusCode::kBadVersion, load_u16(p + 4)};
  if (load_u16(p + 6) != kHeaderBytes) return StatusCode::kBadHeader;
  header_.total_bytes = load_u32(p + 8);
  if (header_.total_bytes > bytes_.size()) return StatusCode::kTruncated;
  if (header_.total_bytes < kHeaderBytes) return StatusCode::kBadLength;
  bytes_ = bytes_.subspan(0, header_.total_bytes);  // a flash partition is longer than its file
  if (crc32(0, p + 16, header_.total_bytes - 16) != load_u32(p + 12)) return StatusCode::kBadCrc;

  header_.model_hash = bytes_.subspan(16, 32);
  header_.arena_bytes = load_u32(p + 48);
  header_.persistent_bytes = load_u32(p + 52);
  header_.error_exponents = load_u16(p + 58);
  header_.shift_states = load_u16(p + 60);
  if (p[62] > 1) return StatusCode::kBadHeader;
  header_.immediate = p[62] == 1;
  header_.input = load_u32(p + 64);
  header_.boundary = load_u32(p + 68);
  header_.output = load_u32(p + 72);
  header_.classes = load_u16(p + 76);
  header_.loss_multiplier = load_i32(p + 80);
  header_.loss_shift = load_i32(p + 84);
  if (header_.error_exponents > kMaxErrorExponents) return StatusCode::kTooManyExponents;
  if (header_.shift_states > kMaxShiftStates) return StatusCode::kTooManyStates;
  if (header_.classes < 2 || header_.classes > kMaxClasses) return StatusCode::kBadHeader;
  if (!valid_multiplier(header_.loss_multiplier, header_.loss_shift)) return StatusCode::kBadHeader;
  return parse_regions();
}

Status Artifact::parse_regions() {
  uint64_t arena_bytes = 0;
  uint64_t persistent_bytes = 0;
  for (uint32_t i = 0; i < kMaxRegions; ++i) {
    const uint8_t* p = bytes_.data() + kRegionTableAt + kRegionBytes * i;
    RegionSize& region = header_.regions[i];
    region.bytes = load_u32(p);
    region.persistent_bytes = load_u32(p + 4);
    if (region.persistent_bytes > region.bytes) return {StatusCode::kBadHeader, i};
    arena_bytes += region.bytes;
    persistent_bytes += region.persistent_bytes;
  }
  if (arena_bytes != header_.arena_bytes || persistent_bytes != header_.persistent_bytes) {
    return StatusCode::kBadHeader;
  }
  return {};
}

Status Artifact::parse_sections() {
  struct Known {
    uint32_t kind;
    Section* section;
    uint32_t record_bytes;  // 0: free
    bool required;
  };
  const Known known[] = {
      {1, &const_, 0, true},
      {2, &tensors_, kTensorBytes, true},
      {3, &ops_, kOpBytes, true},
      {4, &programs_, kProgramBytes, true},
      {5, &trained_, kTrainedBytes, false},
      {6, &blocks_, kBlockBytes, false},
      {7, &meta_, 0, false},
      {8, &self_test_, 0, false},
  };
  const uint32_t sections = load_u16(bytes_.data() + 56);
  const uint64_t table_end = kHeaderBytes + uint64_t{sections} * kSectionBytes;
  if (sections > kMaxSections || table_end > bytes_.size()) return StatusCode::kBadSection;
  for (uint32_t i = 0; i < sections; ++i) {
    const uint8_t* p = bytes_.data() + kHeaderBytes + size_t{i} * kSectionBytes;
    const uint32_t kind = load_u32(p);
    const Known* match = nullptr;
    for (const Known& candidate : known) {
      if (candidate.kind == kind) match = &candidate;
    }
    if (match == nullptr || match->section->present) return {StatusCode::kBadSection, i};
    Section& section = *match->section;
    section.offset = load_u32(p + 4);
    section.bytes = load_u32(p + 8);
    section.count = load_u32(p + 12);
    section.present = true;
    const uint64_t end = uint64_t{section.offset} + section.bytes;
    if (section.offset % kStorageAlignment != 0 || section.offset < table_end ||
        end > bytes_.size()) {
      return {StatusCode::kBadSection, i};
    }
    if (match->record_bytes != 0 &&
        uint64_t{section.count} * match->record_bytes != section.bytes) {
      return {StatusCode::kBadSection, i};
    }
  }
  for (const Known& candidate : known) {
    if (candidate.required && !candidate.section->present) {
      return {StatusCode::kMissingSection, candidate.kind};
    }
  }
  // Tensor numbers are 16 bits wide and 0xffff means none.
  if (tensors_.count >= kNone) return {StatusCode::kBadSection, 2};
  if (programs_.count != 3) return {StatusCode::kBadSection, 4};
  if (trained_.count > kMaxTrained) return {StatusCode::kBadSection, 5};
  return {};
}

Status Artifact::check_model_hash() const {
  Sha256 hash;
  for (const Section* section : {&const_, &tensors_, &ops_, &trained_, &programs_}) {
    hash.update(bytes_.data() + section->offset, section->bytes);
  }
  uint8_t digest[Sha256::kDigestBytes];
  hash.finish(digest);
  if (memcmp(digest, header_.model_hash.data(), sizeof digest) != 0)
    return StatusCode::kBadModelHash;
  return {};
}

Status Artifact::check_programs() const {
  for (uint32_t i = 0; i < 3; ++i) {
    const Program p = program(static_cast<ProgramKind>(i));
    if (uint64_t{p.first} + p.count > ops_.count) return {StatusCode::kBadProgram, i};
  }
  return {};
}

Status Artifact::check_blocks() const {
  for (uint32_t i = 0; i < blocks_.count; ++i) {
    if (record(blocks_, i, kBlockBytes)[16] > 1) return {StatusCode::kBadBlock, i};
  }
  return {};
}

uint64_t Artifact::self_test_record_bytes() const {
  return round_up16(tensor(header_.input).bytes) + 16 + round_up16(header_.classes);
}

Status Artifact::check_self_test() const {
  if (uint64_t{self_test_.count} > self_test_.bytes) return StatusCode::kBadSelfTest;
  if (self_test_.count * self_test_record_bytes() != self_test_.bytes)
    return StatusCode::kBadSelfTest;
  for (uint32_t i = 0; i < self_test_.count; ++i) {
    const Span<const uint8_t> input = self_test_input(i);
    if (load_u16(input.data() + round_up16(input.size())) >= header_.classes) {
      return {StatusCode::kBadSelfTest, i};
    }
  }
  return {};
}

Tensor Artifact::tensor(uint32_t index) const {
  const uint8_t* p = record(tensors_, index, kTensorBytes);
  Tensor t;
  t.place = static_cast<Place>(p[0]);
  t.type = static_cast<ElementType>(p[1]);
  t.role = static_cast<Role>(load_u16(p + 2));
  for (uint32_t i = 0; i < 4; ++i) t.shape[i] = load_u16(p + 4 + 2 * i);
  t.offset = load_u32(p + 12);
  t.bytes = load_u32(p + 16);
  t.zero_point = load_i32(p + 20);
  t.exponent_slot = load_u16(p + 24);
  t.region = p[26];
  return t;
}

Op Artifact::op(uint32_t index) const {
  const uint8_t* p = record(ops_, index, kOpBytes);
  Op op;
  op.opcode = static_cast<Opcode>(p[0]);
  op.flags = p[1];
  op.training_only = (p[1] & 1) != 0;
  op.scratch_region = p[2];
  uint32_t* const operands[] = {&op.in0,     &op.in1,  &op.in2,         &op.out,
                                &op.weights, &op.bias, &op.multipliers, &op.shifts};
  for (uint32_t i = 0; i < 8; ++i) *operands[i] = load_u16(p + 4 + 2 * i);
  op.kernel_h = p[20];
  op.kernel_w = p[21];
  op.stride_h = p[22];
  op.stride_w = p[23];
  op.pad_top = p[24];
  op.pad_left = p[25];
  op.pad_bottom = p[26];
  op.pad_right = p[27];
  op.act_min = static_cast<int8_t>(p[28]);
  op.act_max = static_cast<int8_t>(p[29]);
  op.shift_state = load_u16(p + 30);
  op.trained = load_u16(p + 32);
  op.t = load_i16(p + 34);
  op.scratch_offset = load_u32(p + 36);
  op.scratch_bytes = load_u32(p + 40);
  for (uint32_t i = 0; i < 3; ++i) op.numbers[i] = load_i32(p + 44 + 4 * i);
  return op;
}

TrainedRecord Artifact::trained(uint32_t index) const {
  const uint8_t* p = record(trained_, index, kTrainedBytes);
  TrainedRecord r;
  r.kind = static_cast<TrainedKind>(load_u16(p));
  r.block = load_u16(p + 2);
  uint32_t* const fields[] = {
      &r.weights,      &r.bias,     &r.initial_weights,    &r.initial_bias,
      &r.rho_weights,  &r.rho_bias, &r.weight_accumulator, &r.bias_accumulator,
      &r.row_exponents};
  for (uint32_t i = 0; i < 9; ++i) *fields[i] = load_u16(p + 4 + 2 * i);
  r.rows = load_u32(p + 24);
  r.row_length = load_u32(p + 28);
  return r;
}

Program Artifact::program(ProgramKind kind) const {
  const uint8_t* p = record(programs_, static_cast<uint32_t>(kind), kProgramBytes);
  return {load_u32(p), load_u32(p + 4)};
}

BlockRecord Artifact::block(uint32_t index) const {
  const uint8_t* p = record(blocks_, index, kBlockBytes);
  BlockRecord block;
  block.name = Span<const uint8_t>(p, 16);
  block.trained = p[16] != 0;
  block.parameters = load_u32(p + 20);
  return block;
}

Span<const uint8_t> Artifact::self_test_input(uint32_t index) const {
  const size_t at = self_test_.offset + static_cast<size_t>(index * self_test_record_bytes());
  return bytes_.subspan(at, tensor(header_.input).bytes);
}

Span<const uint8_t> Artifact::self_test_logits(uint32_t index) const {
  const Span<const uint8_t> input = self_test_input(index);
  return {input.data() + round_up16(input.size()) + 16, header_.classes};
}

}  // namespace tbft
