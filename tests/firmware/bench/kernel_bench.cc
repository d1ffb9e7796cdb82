// Speed of the kernels on the layers of ResNet-26 at 32x32, and of a whole training step made of
// them. One thread; prints multiply-accumulates per second for each shape. Usage: tbft_kernel_bench
// [seconds per measurement]
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "kernels/conv2d.h"
#include "kernels/depthwise.h"
#include "kernels/dispatch.h"
#include "kernels/elementwise.h"
#include "kernels/update.h"

namespace {

double g_seconds = 0.1;

// Seconds per call, the best of several runs.
template <typename Function>
double seconds_per_call(Function call) {
  using Clock = std::chrono::steady_clock;
  double best = 1e9;
  const auto start = Clock::now();
  do {
    constexpr int kCalls = 4;
    const auto begin = Clock::now();
    for (int i = 0; i < kCalls; ++i) call();
    const double time = std::chrono::duration<double>(Clock::now() - begin).count() / kCalls;
    if (time < best) best = time;
  } while (std::chrono::duration<double>(Clock::now() - start).count() < g_seconds);
  return best;
}

template <typename T>
std::vector<T> random_values(size_t n, int32_t limit) {
  std::vector<T> values(n);
  uint32_t state = 1;
  for (T& value : values) {
    state = state * 1664525U + 1013904223U;
    value = static_cast<T>(
        static_cast<int32_t>((state >> 8) % static_cast<uint32_t>(2 * limit + 1)) - limit);
  }
  return values;
}

struct Times {
  double forward, input, weight;
};

struct Accumulators {
  std::vector<int16_t> values;
  std::vector<int16_t> exponents;
  uint32_t row_length;
};

void accumulate(void* context, const tbft::GradientRows& rows) {
  Accumulators& acc = *static_cast<Accumulators*>(context);
  for (int32_t r = 0; r < rows.count; ++r) {
    const size_t row = static_cast<size_t>(rows.first_row + r);
    tbft::accumulate_row(rows.g[r], -10, acc.row_length, acc.values.data() + row * acc.row_length,
                         acc.exponents.data() + row);
  }
}

Times measure(const tbft::Conv2dShape& s) {
  const size_t in = static_cast<size_t>(s.in_h * s.in_w * s.in_c);
  const size_t out = static_cast<size_t>(s.out_h * s.out_w * s.out_c);
  const size_t row = static_cast<size_t>(s.kernel_h * s.kernel_w * s.in_c);
  const size_t channels = static_cast<size_t>(s.out_c);
  const auto x = random_values<int8_t>(in, 127);
  const auto w = random_values<int8_t>(row * channels, 127);
  const auto e = random_values<int16_t>(out, 32767);
  const tbft::ErrorView narrow = {nullptr, e.data(), 8, 7};
  const tbft::ErrorView finer = {nullptr, e.data(), 4, 11};
  const auto bias = random_values<int32_t>(channels, 1000);
  const std::vector<int32_t> multiplier(channels, 1518500250);
  const std::vector<int32_t> shift(channels, -9);
  const std::vector<int16_t> q(channels, 20000);
  const tbft::Requantization rq = {multiplier.data(), shift.data(), -3, 5, -128, 127};
  std::vector<int8_t> y(out);
  std::vector<int8_t> e_x(in);
  Accumulators acc = {std::vector<int16_t>(row * channels),
                      std::vector<int16_t>(channels, tbft::kEmptyExponent),
                      static_cast<uint32_t>(row)};
  std::vector<int64_t> scratch(1 << 16);
  Times times = {};
  times.forward = seconds_per_call([&] {
    tbft::conv2d_s8_fwd(s, x.data(), w.data(), bias.data(), rq, scratch.data(), y.data());
  });
  times.input = seconds_per_call([&] {
    tbft::conv2d_s8_bwd_input(s, narrow, w.data(), q.data(), 17, scratch.data(), e_x.data());
  });
  times.weight = seconds_per_call([&] {
    tbft::conv2d_s8_bwd_weight(s, finer, x.data(), -3, scratch.data(), accumulate, &acc);
  });
  return times;
}

struct Layer {
  const char* name;
  tbft::Conv2dShape shape;
  int count;  // how many of them the network has
  bool has_input_gradient;
};

tbft::Conv2dShape square(int32_t size, int32_t in_c, int32_t out_c, int32_t stride) {
  return {size, size, in_c, size / stride, size / stride, out_c, 3, 3, stride, stride, 1, 1};
}

// Everything that is not a convolution, for one residual block of this size: two affines, one
// addition, and their gradients.
double measure_block_rest(int32_t size, int32_t channels) {
  const tbft::Conv2dShape s = {size, size, channels, size, size, channels, 1, 1, 1, 1, 0, 0};
  const size_t n = static_cast<size_t>(size * size * channels);
  const size_t c = static_cast<size_t>(channels);
  const auto x = random_values<int8_t>(n, 127);
  const auto e = random_values<int8_t>(n, 127);
  const auto w = random_values<int8_t>(c, 127);
  const auto bias = random_values<int32_t>(c, 1000);
  const std::vector<int32_t> multiplier(c, 1518500250);
  const std::vector<int32_t> shift(c, -7);
  const std::vector<int16_t> q(c, 20000);
  const tbft::Requantization rq = {multiplier.data(), shift.data(), -3, 5, -128, 127};
  const tbft::AddParams add = {1, 2, 3, 1073741824, 0, 1273741824, -1, 1518500250, -19, -128, 127};
  const auto wide_values = random_values<int16_t>(n, 32767);
  std::vector<int16_t> out(n);
  std::vector<int8_t> y(n);
  std::vector<int32_t> sums(c);
  std::vector<int64_t> scratch(1 << 16);
  const auto n32 = static_cast<uint32_t>(n);
  const double forward = seconds_per_call(
      [&] { tbft::depthwise_s8_fwd(s, x.data(), w.data(), bias.data(), rq, y.data()); });
  const tbft::ErrorView narrow = {e.data(), nullptr, 0, 0};
  const tbft::ErrorView wide = {nullptr, wide_values.data(), 5, 11};
  const double backward = seconds_per_call([&] {
    tbft::affine_bwd(size * size, channels, narrow, 0, w.data(), q.data(), 3, wide, -2, out.data());
  });
  const double sum =
      seconds_per_call([&] { tbft::add_s8_fwd(add, x.data(), e.data(), n32, y.data()); });
  const double relu =
      seconds_per_call([&] { tbft::relu_bwd(e.data(), x.data(), n32, 0, 127, false, y.data()); });
  const double bias_time =
      seconds_per_call([&] { tbft::bias_s8_bwd(wide, size * size, channels, sums.data()); });
  const double error =
      seconds_per_call([&] { tbft::error_add(narrow, 3, wide, 1, n32, out.data()); });
  std::printf(
      "  %2dx%2dx%2d affine %.1f us, its input gradient with addition %.1f, add %.1f, relu %.1f, "
      "bias %.1f, "
      "error add %.1f\n",
      size, size, channels, forward * 1e6, backward * 1e6, sum * 1e6, relu * 1e6, bias_time * 1e6,
      error * 1e6);
  return 2 * (forward + backward + relu + bias_time) + sum + error;
}

double measure_update() {
  constexpr uint32_t kRow = 576;
  constexpr uint32_t kRows = 636;  // about the 366,938 parameters of the network
  auto acc = random_values<int16_t>(kRow, 16000);
  auto w = random_values<int8_t>(kRow * kRows, 127);
  return seconds_per_call([&] {
    for (uint32_t row = 0; row < kRows; ++row) {
      int16_t exponent = -14;
      tbft::apply_row_s8({1073741824, -5}, {1073741824, 3}, kRow, {row * kRow, 1}, acc.data(),
                         &exponent, w.data());
    }
  });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) g_seconds = std::strtod(argv[1], nullptr);
  const Layer layers[] = {
      {"3->16 32x32", square(32, 3, 16, 1), 1, false},
      {"16->16 32x32", square(32, 16, 16, 1), 8, true},
      {"16->32 32x32/2", square(32, 16, 32, 2), 1, true},
      {"32->32 16x16", square(16, 32, 32, 1), 7, true},
      {"32->64 16x16/2", square(16, 32, 64, 2), 1, true},
      {"64->64 8x8", square(8, 64, 64, 1), 7, true},
  };
  std::printf("form: %s\n%-16s %8s %10s %10s %10s   GMAC/s\n",
              TBFT_KERNELS_X86 ? "x86" : "portable", "layer", "MMAC", "forward", "input", "weight");
  Times total = {};
  double all_macs = 0;
  for (const Layer& layer : layers) {
    const tbft::Conv2dShape& s = layer.shape;
    const double macs = 1.0 * s.out_h * s.out_w * s.out_c * s.kernel_h * s.kernel_w * s.in_c;
    const Times times = measure(s);
    std::printf("%-16s %8.3f %10.1f %10.1f %10.1f\n", layer.name, macs * 1e-6,
                macs / times.forward * 1e-9, macs / times.input * 1e-9, macs / times.weight * 1e-9);
    total.forward += layer.count * times.forward;
    total.input += layer.has_input_gradient ? layer.count * times.input : 0;
    total.weight += layer.count * times.weight;
    all_macs += layer.count * macs;
  }
  std::printf("everything else, per residual block:\n");
  const double rest =
      4 * (measure_block_rest(32, 16) + measure_block_rest(16, 32) + measure_block_rest(8, 64));
  const double update = measure_update();
  const double sample = total.forward + total.input + total.weight + rest;
  std::printf(
      "one sample, %.1f MMAC forward: convolutions forward %.3f ms, input gradient %.3f ms, "
      "weight gradient with accumulation %.3f ms, the rest %.3f ms\n",
      all_macs * 1e-6, total.forward * 1e3, total.input * 1e3, total.weight * 1e3, rest * 1e3);
  std::printf("update of all weights %.3f ms\ntraining step, batch of 8: %.2f ms\n", update * 1e3,
              (8 * sample + update) * 1e3);
  return 0;
}
