#include "grid.h"

#include "kernels/fixed_point.h"

namespace tbft::grid {
namespace {

uint32_t g_wrong = 0;
constexpr uint32_t kMostReports = 5;  // failures a group describes; it counts all of them

}  // namespace

uint32_t Random::bits() { return mix32(key_ + count_++ * kGolden); }

int32_t Random::between(int32_t low, int32_t high) {
  const uint64_t width = static_cast<uint64_t>(int64_t{high} - low) + 1;
  return static_cast<int32_t>(low + static_cast<int64_t>((bits() * width) >> 32));
}

int32_t filled(Random& random, Fill how, int32_t low, int32_t high) {
  switch (how) {
    case Fill::kRandom:
      return random.between(low, high);
    case Fill::kHighest:
      return high;
    case Fill::kLowest:
      return low;
    case Fill::kEnds:
      return random.one_in(2) ? low : high;
    case Fill::kSparse:
      return random.one_in(16) ? random.between(low, high) : 0;
    case Fill::kZero:
      break;
  }
  return 0;
}

Errors::Errors(Random& random, Fill how, size_t count, bool is_wide, int32_t most_bits)
    : narrow(is_wide ? 0 : count), wide(is_wide ? count : 0), view({}) {
  if (is_wide) {
    view.bits = random.one_in(2) ? most_bits : random.between(7, most_bits);
    // A view whose shift is smaller than the values need clamps them.
    view.shift = random.between(0, 15 - view.bits);
    const int32_t limit = random.one_in(3) ? 32767 : ((1 << view.bits) - 1) << view.shift;
    fill(random, how, -limit, limit, wide);
    view.s16 = wide.data();
  } else {
    fill(random, how, -127, 127, narrow);
    view.s8 = narrow.data();
  }
}

Group::~Group() {
  bare::release();
  g_wrong += wrong_;
  bare::Line().text(name_).text(": ").number(cases_).text(" cases, ").number(wrong_).text(" wrong");
}

void Group::begin(uint32_t number, const Conv2dShape& shape) {
  bare::release();
  ++cases_;
  number_ = number;
  shape_ = shape;
  failed_ = false;
}

void Group::begin(uint32_t number, int32_t a, int32_t b) {
  begin(number, Conv2dShape{a, b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
}

void Group::compare(const char* what, const uint8_t* expected, const uint8_t* found, size_t bytes,
                    bool same_size) {
  if (!same_size) fail(what, "has another size");
  for (size_t i = 0; same_size && i < bytes; ++i) {
    if (expected[i] == found[i]) continue;
    if (wrong_ < kMostReports && !failed_) {
      bare::Line()
          .text("  byte ")
          .number(static_cast<int64_t>(i))
          .text(" of ")
          .number(static_cast<int64_t>(bytes));
    }
    fail(what, "differs from the plain form");
    return;
  }
}

void Group::fail(const char* what, const char* how) {
  if (failed_) return;
  failed_ = true;
  if (wrong_++ >= kMostReports) return;
  const Conv2dShape& s = shape_;
  bare::Line line;
  line.text(name_).text(" case ").number(number_).text(": ").text(what).text(" ").text(how);
  line.text("; shape");
  const int32_t numbers[] = {s.in_h,     s.in_w,     s.in_c,     s.out_h,    s.out_w,   s.out_c,
                             s.kernel_h, s.kernel_w, s.stride_h, s.stride_w, s.pad_top, s.pad_left};
  for (const int32_t number : numbers) line.text(" ").number(number);
}

uint32_t wrong_cases() { return g_wrong; }

Conv2dShape random_shape(Random& random, bool depthwise) {
  constexpr int32_t kCommonChannels[] = {4, 8, 8, 12, 16, 16, 20, 24, 32, 64};
  constexpr int32_t kAnyChannels[] = {1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 13, 15, 17, 19, 31, 33};
  constexpr int32_t kKernels[] = {1, 1, 2, 3, 3, 3, 4, 5, 7};
  constexpr int32_t kStrides[] = {1, 1, 1, 2, 2, 3, 4};
  Conv2dShape s = {};
  const bool common = random.one_in(2);
  int32_t pad_bottom = 0;
  int32_t pad_right = 0;
  if (common) {
    s.kernel_h = s.kernel_w = random.one_in(5) ? 1 : 3;
    s.stride_h = s.stride_w = random.one_in(3) ? 2 : 1;
    s.pad_top = s.pad_left = pad_bottom = pad_right = s.kernel_h / 2;
    s.in_h = random.between(1, 11);
    s.in_w = random.between(1, 18);
    s.in_c = random.pick(kCommonChannels);
    s.out_c = random.pick(kCommonChannels);
    if (s.in_c * s.out_c > 1024) s.in_w = 1 + s.in_w / 3;  // keeps the plain form's time in bounds
  } else {
    s.kernel_h = random.pick(kKernels);
    s.kernel_w = random.one_in(3) ? random.pick(kKernels) : s.kernel_h;
    s.stride_h = random.pick(kStrides);
    s.stride_w = random.one_in(3) ? random.pick(kStrides) : s.stride_h;
    s.pad_top = random.between(0, s.kernel_h - 1);
    pad_bottom = random.between(0, s.kernel_h - 1);
    s.pad_left = random.between(0, s.kernel_w - 1);
    pad_right = random.between(0, s.kernel_w - 1);
    s.in_h = random.between(1, 9);
    s.in_w = random.between(1, 9);
    if (s.in_h + s.pad_top + pad_bottom < s.kernel_h) s.in_h = s.kernel_h;
    if (s.in_w + s.pad_left + pad_right < s.kernel_w) s.in_w = s.kernel_w;
    s.in_c = random.one_in(2) ? random.pick(kAnyChannels) : random.between(1, 9);
    s.out_c = random.one_in(2) ? random.pick(kAnyChannels) : random.between(1, 9);
  }
  s.out_h = (s.in_h + s.pad_top + pad_bottom - s.kernel_h) / s.stride_h + 1;
  s.out_w = (s.in_w + s.pad_left + pad_right - s.kernel_w) / s.stride_w + 1;
  if (depthwise) s.out_c = s.in_c;
  return s;
}

Requantizer::Requantizer(Random& random, int32_t channels)
    : multiplier(static_cast<size_t>(channels)), shift(static_cast<size_t>(channels)), rq({}) {
  constexpr int32_t kOddShifts[] = {-31, -30, -1, 0, 1, 7, 30};
  for (size_t c = 0; c < multiplier.size(); ++c) {
    multiplier[c] = random.one_in(32) ? 0 : random.between(1 << 30, kInt32Max);
    shift[c] = random.one_in(12) ? random.pick(kOddShifts) : random.between(-14, -4);
  }
  rq = {multiplier.data(),         shift.data(), random.between(-128, 127),
        random.between(-128, 127), -128,         127};
  if (random.one_in(2)) rq.act_min = rq.out_zero_point;
  if (random.one_in(3)) rq.act_max = random.between(rq.act_min, 127);
}

}  // namespace tbft::grid
