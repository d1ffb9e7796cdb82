// The parts of Artifact::parse that look at records one by one. Nothing here is needed after
// loading.
#pragma once

#include <cstdint>

#include "runtime/artifact.h"
#include "runtime/status.h"

namespace tbft {

constexpr uint64_t round_up16(uint64_t bytes) { return (bytes + 15) & ~uint64_t{15}; }

// Shifts of MBQM that every kernel computes without undefined behaviour, with a multiplier that is
// not negative.
constexpr bool valid_multiplier(int32_t multiplier, int32_t shift) {
  return (multiplier == 0 || multiplier >= (1 << 30)) && shift >= -31 && shift <= 30;
}

// Bytes [begin, end) of a region of the arena, or of CONST.
struct Range {
  uint32_t region = 0;
  uint64_t begin = 0;
  uint64_t end = 0;
};
constexpr bool disjoint(Range a, Range b) {
  return a.region != b.region || a.end <= b.begin || b.end <= a.begin;
}

inline Range range_of(const Tensor& tensor) {
  return {tensor.region, tensor.offset, uint64_t{tensor.offset} + tensor.bytes};
}

// Fields, shapes, places, sizes and constant values of every tensor, and the three tensors the
// header names.
Status check_tensors(const Artifact& artifact);
// Trained records, and that no two persistent tensors share a byte.
Status check_trained(const Artifact& artifact);
// Operands, geometry, limits, scratch, overlaps and order of every op.
Status check_ops(const Artifact& artifact);

}  // namespace tbft
