// Instructions of every kernel on the layers of ResNet-26 at 32x32: one line each,
//
//   count GROUP/WHAT/FORM UNITS INSTRUCTIONS
//
// UNITS being multiply-accumulates of a convolution (padding included), or elements. Each count is
// one whole call, packing and requantization included. Forms: `fast` (what the firmware calls),
// `portable` (the same in plain C++), `plain` (the loop nest that defines the result), `fp32`
// (plain C in float32); `wide` after fast or portable: reads an int16 error.
#include "bare.h"
#include "bench/fp32_conv.h"
#include "kernels/conv2d.h"
#include "kernels/depthwise.h"
#include "kernels/dispatch.h"
#include "kernels/elementwise.h"
#include "kernels/fixed_point.h"
#include "kernels/softmax_xent.h"
#include "kernels/update.h"

namespace {

using tbft::Conv2dShape;
using tbft::ErrorView;
using tbft::bare::allocate;

template <typename Call>
void count(const char* group, const char* what, int64_t units, Call call) {
  tbft::bare::Counter counter;
  counter.begin();
  call();
  const uint64_t instructions = counter.end();
  tbft::bare::Line line;
  line.text("count ").text(group).text("/").text(what).text(" ").number(units).text(" ").number(
      static_cast<int64_t>(instructions));
}

template <typename T>
T* zeros(size_t count) {
  T* const values = static_cast<T*>(allocate(count * sizeof(T)));
  for (size_t i = 0; i < count; ++i) values[i] = T{0};
  return values;
}

// Dense random values: no kernel may gain by skipping zeros that real errors do not have.
template <typename T>
T* random_values(size_t count, int32_t limit) {
  T* const values = static_cast<T*>(allocate(count * sizeof(T)));
  for (size_t i = 0; i < count; ++i) {
    const uint32_t bits = tbft::mix32(static_cast<uint32_t>(i) * tbft::kGolden);
    const int32_t value =
        static_cast<int32_t>((uint64_t{bits} * static_cast<uint32_t>(2 * limit + 1)) >> 32) - limit;
    values[i] = static_cast<T>(value);
  }
  return values;
}

template <typename T>
T* constant(size_t count, T value) {
  T* const values = static_cast<T*>(allocate(count * sizeof(T)));
  for (size_t i = 0; i < count; ++i) values[i] = value;
  return values;
}

void ignore(void*, const tbft::GradientRows&) {}

struct Layer {
  const char* name;
  Conv2dShape shape;
  bool has_input_gradient;
  // The plain form and float32 say little that two layers do not say, and take the emulator
  // longest.
  bool with_references;
};

struct Sizes {
  explicit Sizes(const Conv2dShape& s)
      : in(static_cast<size_t>(s.in_h * s.in_w * s.in_c)),
        out(static_cast<size_t>(s.out_h * s.out_w * s.out_c)),
        row(static_cast<size_t>(s.kernel_h * s.kernel_w * s.in_c)),
        channels(static_cast<size_t>(s.out_c)),
        macs(static_cast<int64_t>(out * row)) {}
  size_t in, out, row, channels;
  int64_t macs;
};

void bench_forward(const Layer& layer) {
  const Conv2dShape& s = layer.shape;
  const Sizes n(s);
  const int8_t* const x = random_values<int8_t>(n.in, 127);
  const int8_t* const w = random_values<int8_t>(n.row * n.channels, 127);
  const int32_t* const bias = random_values<int32_t>(n.channels, 1000);
  const tbft::Requantization rq = {constant<int32_t>(n.channels, 1518500250),
                                   constant<int32_t>(n.channels, -9),
                                   -3,
                                   5,
                                   -128,
                                   127};
  void* const scratch = allocate(static_cast<size_t>(tbft::conv2d_s8_fwd_scratch_bytes(s)));
  int8_t* const y = zeros<int8_t>(n.out);
  count(layer.name, "forward/fast", n.macs,
        [&] { tbft::conv2d_s8_fwd(s, x, w, bias, rq, scratch, y); });
  count(layer.name, "forward/portable", n.macs,
        [&] { tbft::conv2d_s8_fwd_portable(s, x, w, bias, rq, scratch, y); });
  if (layer.with_references) {
    count(layer.name, "forward/plain", n.macs,
          [&] { tbft::conv2d_s8_fwd_ref(s, x, w, bias, rq, y); });
  }
  tbft::bare::release();
}

void bench_input_gradient(const Layer& layer) {
  const Conv2dShape& s = layer.shape;
  const Sizes n(s);
  const int8_t* const narrow = random_values<int8_t>(n.out, 127);
  const int16_t* const wide = random_values<int16_t>(n.out, 32767);
  const ErrorView views[] = {{narrow, nullptr, 0, 7}, {nullptr, wide, 8, 7}};
  const int8_t* const w = random_values<int8_t>(n.row * n.channels, 127);
  const int16_t* const q = constant<int16_t>(n.channels, 20000);
  void* const scratch = allocate(static_cast<size_t>(tbft::conv2d_s8_bwd_input_scratch_bytes(s)));
  int8_t* const e_x = zeros<int8_t>(n.in);
  constexpr int32_t kShift = 14;
  const char* const fast[] = {"input/fast", "input/fast-wide"};
  const char* const portable[] = {"input/portable", "input/portable-wide"};
  for (size_t v = 0; v < 2; ++v) {
    count(layer.name, fast[v], n.macs,
          [&] { (void)tbft::conv2d_s8_bwd_input(s, views[v], w, q, kShift, scratch, e_x); });
    count(layer.name, portable[v], n.macs, [&] {
      (void)tbft::conv2d_s8_bwd_input_portable(s, views[v], w, q, kShift, scratch, e_x);
    });
  }
  if (layer.with_references) {
    count(layer.name, "input/plain", n.macs,
          [&] { (void)tbft::conv2d_s8_bwd_input_ref(s, views[0], w, q, kShift, e_x); });
  }
  tbft::bare::release();
}

void bench_weight_gradient(const Layer& layer) {
  const Conv2dShape& s = layer.shape;
  const Sizes n(s);
  const int8_t* const narrow = random_values<int8_t>(n.out, 127);
  const int16_t* const wide = random_values<int16_t>(n.out, 32767);
  // The bits with which docs/numerics.md reads a wide error of this size.
  const int32_t bits =
      tbft::clamp(22 - tbft::bitlen(static_cast<uint64_t>(s.out_h * s.out_w - 1)), 7, 11);
  const ErrorView views[] = {{narrow, nullptr, 0, 7}, {nullptr, wide, 15 - bits, bits}};
  const int8_t* const x = random_values<int8_t>(n.in, 127);
  void* const scratch = allocate(static_cast<size_t>(tbft::conv2d_s8_bwd_weight_scratch_bytes(s)));
  const char* const fast[] = {"weight/fast", "weight/fast-wide"};
  const char* const portable[] = {"weight/portable", "weight/portable-wide"};
  for (size_t v = 0; v < 2; ++v) {
    count(layer.name, fast[v], n.macs,
          [&] { tbft::conv2d_s8_bwd_weight(s, views[v], x, -3, scratch, ignore, nullptr); });
    count(layer.name, portable[v], n.macs, [&] {
      tbft::conv2d_s8_bwd_weight_portable(s, views[v], x, -3, scratch, ignore, nullptr);
    });
  }
  if (layer.with_references) {
    int32_t* const g = zeros<int32_t>(n.row);
    int32_t bias = 0;
    count(layer.name, "weight/plain", n.macs, [&] {
      for (int32_t o = 0; o < s.out_c; ++o) {
        tbft::conv2d_s8_bwd_weight_row_ref(s, views[0], x, -3, o, g, &bias);
      }
    });
  }
  tbft::bare::release();
}

void bench_fp32(const Layer& layer) {
  const Conv2dShape& s = layer.shape;
  const Sizes n(s);
  const float* const x = random_values<float>(n.in, 1000);
  const float* const e = random_values<float>(n.out, 1000);
  const float* const w = random_values<float>(n.row * n.channels, 1000);
  float* const y = zeros<float>(n.out);
  float* const e_x = zeros<float>(n.in);
  float* const g = zeros<float>(n.row * n.channels);
  float* const bias = zeros<float>(n.channels);
  count(layer.name, "forward/fp32", n.macs, [&] { tbft::bench::conv2d_f32_fwd(s, x, w, bias, y); });
  count(layer.name, "input/fp32", n.macs, [&] { tbft::bench::conv2d_f32_bwd_input(s, e, w, e_x); });
  count(layer.name, "weight/fp32", n.macs,
        [&] { tbft::bench::conv2d_f32_bwd_weight(s, e, x, g, bias); });
  tbft::bare::release();
}

// Everything that is not a convolution, for the images and channels of one stage of the network.
void bench_rest(const char* name, int32_t size, int32_t channels) {
  const Conv2dShape s = {size, size, channels, size, size, channels, 1, 1, 1, 1, 0, 0};
  const int32_t pixels = size * size;
  const size_t c = static_cast<size_t>(channels);
  const size_t n = static_cast<size_t>(pixels) * c;
  const uint32_t n32 = static_cast<uint32_t>(n);
  const int64_t elements = static_cast<int64_t>(n);
  const int8_t* const x = random_values<int8_t>(n, 127);
  const int16_t* const wide_values = random_values<int16_t>(n, 32767);
  const ErrorView narrow = {x, nullptr, 0, 7};
  const ErrorView wide = {nullptr, wide_values, 5, 11};
  const ErrorView none = {};
  const int8_t* const w = random_values<int8_t>(c, 127);
  const int16_t* const q = constant<int16_t>(c, 20000);
  const int32_t* const bias = random_values<int32_t>(c, 1000);
  const tbft::Requantization rq = {
      constant<int32_t>(c, 1518500250), constant<int32_t>(c, -7), -3, 5, -128, 127};
  const tbft::AddParams add = {1, 2, 3, 1073741824, 0, 1273741824, -1, 1518500250, -19, -128, 127};
  int8_t* const y = zeros<int8_t>(n);
  int16_t* const out = zeros<int16_t>(n);
  uint8_t* const mask = zeros<uint8_t>(static_cast<size_t>(tbft::mask_bytes(n32)));
  int32_t* const sums = zeros<int32_t>(c);
  count(name, "affine/fast", elements, [&] { tbft::depthwise_s8_fwd(s, x, w, bias, rq, y); });
  count(name, "affine/plain", elements, [&] { tbft::depthwise_s8_fwd_ref(s, x, w, bias, rq, y); });
  count(name, "affine-input/fast", elements,
        [&] { (void)tbft::affine_bwd(pixels, channels, narrow, 0, w, q, 3, none, 0, out); });
  count(name, "affine-input-sum/fast", elements,
        [&] { (void)tbft::affine_bwd(pixels, channels, narrow, 0, w, q, 3, wide, -2, out); });
  count(name, "affine-input-sum/plain", elements,
        [&] { (void)tbft::affine_bwd_ref(pixels, channels, narrow, 0, w, q, 3, wide, -2, out); });
  count(name, "add/fast", elements, [&] { tbft::add_s8_fwd(add, x, x, n32, y); });
  count(name, "add/plain", elements, [&] { tbft::add_s8_fwd_ref(add, x, x, n32, y); });
  count(name, "mask/fast", elements, [&] { tbft::mask_pack(x, n32, -3, 127, false, mask); });
  count(name, "mask-error/fast", elements, [&] { tbft::mask_bwd(x, mask, n32, y); });
  count(name, "mask-error/fast-wide", elements,
        [&] { tbft::mask_bwd(wide_values, mask, n32, out); });
  count(name, "relu-error/fast", elements, [&] { tbft::relu_bwd(x, x, n32, -3, 127, false, y); });
  count(name, "relu-error/fast-wide", elements,
        [&] { tbft::relu_bwd(wide_values, x, n32, -3, 127, false, out); });
  count(name, "error-sum/fast", elements,
        [&] { (void)tbft::error_add(narrow, 3, wide, 1, n32, out); });
  count(name, "bias/fast", elements, [&] { tbft::bias_s8_bwd(narrow, pixels, channels, sums); });
  count(name, "bias/fast-wide", elements, [&] { tbft::bias_s8_bwd(wide, pixels, channels, sums); });
  tbft::bare::release();
}

// Gradients into accumulators and weights: a row of 3x3 taps over this many channels.
void bench_update(const char* name, int32_t channels) {
  const uint32_t n = static_cast<uint32_t>(9 * channels);
  const int32_t* const g = random_values<int32_t>(n, 1000000);
  int16_t* const acc = zeros<int16_t>(n);
  int8_t* const w = random_values<int8_t>(n, 127);
  int16_t exponent = tbft::kEmptyExponent;
  const tbft::NormalizedPair lr = {1073741824, -9};
  const tbft::NormalizedPair rho = {1073741824, 3};
  count(name, "accumulate-first/fast", n, [&] { tbft::accumulate_row(g, -10, n, acc, &exponent); });
  count(name, "accumulate/fast", n, [&] { tbft::accumulate_row(g, -10, n, acc, &exponent); });
  count(name, "apply/fast", n, [&] { tbft::apply_row_s8(lr, rho, n, {0, 1}, acc, &exponent, w); });
  count(name, "immediate/fast", n,
        [&] { tbft::sgd_row_s8({lr, 12345}, rho, g, -20, n, {0, 1}, w); });
  tbft::bare::release();
}

void bench_loss() {
  constexpr int32_t kInputs = 64;
  constexpr int32_t kClasses = 10;
  const tbft::LossParams params = {kInputs, kClasses, -3, 1518500250, -6};
  const int8_t* const x = random_values<int8_t>(kInputs, 127);
  const int8_t* const w = random_values<int8_t>(kInputs * kClasses, 127);
  void* const scratch =
      allocate(static_cast<size_t>(tbft::linear_loss_scratch_bytes(kInputs, kClasses)));
  int8_t* const e = zeros<int8_t>(kClasses);
  count("fc", "loss/fast", kInputs * kClasses,
        [&] { (void)tbft::linear_loss(params, x, w, nullptr, 3, scratch, e); });
  tbft::bare::release();
}

constexpr Conv2dShape square(int32_t size, int32_t in_c, int32_t out_c, int32_t stride) {
  return {size, size, in_c, size / stride, size / stride, out_c, 3, 3, stride, stride, 1, 1};
}

constexpr Layer kLayers[] = {
    {"3-16-32x32", square(32, 3, 16, 1), false, false},
    {"16-16-32x32", square(32, 16, 16, 1), true, true},
    {"16-32-32x32-s2", square(32, 16, 32, 2), true, false},
    {"32-32-16x16", square(16, 32, 32, 1), true, false},
    {"32-64-16x16-s2", square(16, 32, 64, 2), true, false},
    {"64-64-8x8", square(8, 64, 64, 1), true, true},
    {"fc", {1, 1, 64, 1, 1, 10, 1, 1, 1, 1, 0, 0}, true, false},
};

}  // namespace

int main() {
  for (const Layer& layer : kLayers) {
    bench_forward(layer);
    if (layer.has_input_gradient) bench_input_gradient(layer);
    bench_weight_gradient(layer);
    if (layer.with_references) bench_fp32(layer);
  }
  bench_loss();
  bench_rest("32x32x16", 32, 16);
  bench_rest("16x16x32", 16, 32);
  bench_rest("8x8x64", 8, 64);
  bench_update("row-16", 16);
  bench_update("row-32", 32);
  bench_update("row-64", 64);
  tbft::bare::Line().text("kernel_bench on ").text(tbft::bare::board()).text(": done");
  return 0;
}
