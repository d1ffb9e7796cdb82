// The parts of kernel_grid: each runs one kernel's fast, portable and plain forms on the same
// generated cases and compares every byte.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../bare.h"
#include "kernels/conv_shape.h"
#include "kernels/error_view.h"

namespace tbft::grid {

// Numbers from a counter: case k of a group is the same on every CPU, whatever ran before it.
class Random {
 public:
  explicit Random(uint32_t key) : key_(key) {}

  uint32_t bits();
  // Uniform enough for tests, both ends included.
  int32_t between(int32_t low, int32_t high);
  bool one_in(int32_t n) { return between(1, n) == 1; }
  template <size_t N>
  int32_t pick(const int32_t (&values)[N]) {
    return values[between(0, static_cast<int32_t>(N) - 1)];
  }

 private:
  uint32_t key_;
  uint32_t count_ = 0;
};

// A buffer with guard bytes around it, filled with whatever lay there. On this computer there are
// none: there the address sanitizer watches the ends, reads included.
template <typename T>
class Buffer {
 public:
  explicit Buffer(size_t count)
      : count_(count), block_(static_cast<uint8_t*>(bare::allocate(bytes() + 2 * kGuard))) {
    for (size_t i = 0; i < kGuard; ++i) block_[i] = block_[kGuard + bytes() + i] = kRubbish;
  }
  T* data() { return reinterpret_cast<T*>(block_ + kGuard); }
  T& operator[](size_t i) { return data()[i]; }
  size_t size() const { return count_; }
  size_t bytes() const { return count_ * sizeof(T); }
  bool guards_whole() const {
    for (size_t i = 0; i < kGuard; ++i) {
      if (block_[i] != kRubbish || block_[kGuard + bytes() + i] != kRubbish) return false;
    }
    return true;
  }

 private:
#if defined(__unix__)
  static constexpr size_t kGuard = 0;
#else
  static constexpr size_t kGuard = 64;
#endif
  static constexpr uint8_t kRubbish = 0xa5;

  size_t count_;
  uint8_t* block_;
};

// How values are chosen. The extremes reach the limits of every accumulator.
enum class Fill : int32_t { kRandom, kHighest, kLowest, kEnds, kSparse, kZero };
constexpr int32_t kFills = 6;

int32_t filled(Random& random, Fill fill, int32_t low, int32_t high);

template <typename T>
void fill(Random& random, Fill how, int32_t low, int32_t high, Buffer<T>& buffer) {
  for (size_t i = 0; i < buffer.size(); ++i) {
    buffer[i] = static_cast<T>(filled(random, how, low, high));
  }
}

// An error tensor, narrow or wide with its view.
struct Errors {
  // Values of the range that the view's bits allow, or wider ones that it narrows or clamps.
  Errors(Random& random, Fill how, size_t count, bool wide, int32_t most_bits);

  Buffer<int8_t> narrow;
  Buffer<int16_t> wide;
  ErrorView view;
};

// Counts the cases of one group and prints its line: name, cases, how many were wrong.
class Group {
 public:
  explicit Group(const char* name) : name_(name) {}
  ~Group();
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  // Begins a case; its numbers are printed should it fail. Gives back the memory of the last one.
  void begin(uint32_t number, const Conv2dShape& shape);
  void begin(uint32_t number, int32_t a, int32_t b);
  // Notes a failure of this case where the bytes differ, a guard is gone, or a claim is not true.
  template <typename T>
  void equal(const char* what, Buffer<T>& expected, Buffer<T>& found) {
    compare(what, reinterpret_cast<const uint8_t*>(expected.data()),
            reinterpret_cast<const uint8_t*>(found.data()), expected.bytes(),
            expected.size() == found.size());
    intact(what, found);
  }
  template <typename T>
  void intact(const char* what, const Buffer<T>& buffer) {
    if (!buffer.guards_whole()) fail(what, "wrote outside its buffer");
  }
  void claim(const char* what, bool holds) {
    if (!holds) fail(what, "is not what it should be");
  }

 private:
  void compare(const char* what, const uint8_t* expected, const uint8_t* found, size_t bytes,
               bool same_size);
  void fail(const char* what, const char* how);

  const char* name_;
  uint32_t cases_ = 0;
  uint32_t wrong_ = 0;
  bool failed_ = false;
  uint32_t number_ = 0;
  Conv2dShape shape_ = {};
};

uint32_t wrong_cases();  // of all groups so far

// A convolution: every other one a size that networks use, else anything that is allowed.
Conv2dShape random_shape(Random& random, bool depthwise);

// The rows of ResNet-26's layers, at full size: those the fast forms are written for.
constexpr Conv2dShape kResNetLayers[] = {
    {32, 32, 3, 32, 32, 16, 3, 3, 1, 1, 1, 1},  {32, 32, 16, 32, 32, 16, 3, 3, 1, 1, 1, 1},
    {32, 32, 16, 16, 16, 32, 3, 3, 2, 2, 1, 1}, {16, 16, 32, 16, 16, 32, 3, 3, 1, 1, 1, 1},
    {16, 16, 32, 8, 8, 64, 3, 3, 2, 2, 1, 1},   {8, 8, 64, 8, 8, 64, 3, 3, 1, 1, 1, 1},
    {1, 1, 64, 1, 1, 10, 1, 1, 1, 1, 0, 0},
};

// Multipliers, shifts, zero points and limits for a Requantization; the arrays live in it.
struct Requantizer {
  Requantizer(Random& random, int32_t channels);

  Buffer<int32_t> multiplier;
  Buffer<int32_t> shift;
  Requantization rq;
};

void conv2d_forward();
void conv2d_input_gradient();
void conv2d_weight_gradient();
void depthwise();
void affine();
void elementwise();
void errors();
void updates();

}  // namespace tbft::grid
