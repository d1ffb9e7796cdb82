// Convolutions: the fast form, the portable form and the plain loop nest.
#include "kernels/conv2d.h"

#include "grid.h"
#include "kernels/dispatch.h"
#include "kernels/fixed_point.h"

namespace tbft::grid {
namespace {

constexpr uint32_t kCases = 360;
constexpr uint32_t kLayers = sizeof(kResNetLayers) / sizeof(kResNetLayers[0]);

size_t input_size(const Conv2dShape& s) { return static_cast<size_t>(s.in_h * s.in_w * s.in_c); }
size_t output_size(const Conv2dShape& s) {
  return static_cast<size_t>(s.out_h * s.out_w * s.out_c);
}
size_t row_size(const Conv2dShape& s) {
  return static_cast<size_t>(s.kernel_h * s.kernel_w * s.in_c);
}

// The layers of ResNet-26 first, then random shapes.
Conv2dShape shape_of(uint32_t number, Random& random) {
  if (number < kLayers) return kResNetLayers[number];
  return random_shape(random, false);
}

Fill fill_of(uint32_t number, Random& random) {
  if (number < kLayers || !random.one_in(3)) return Fill::kRandom;
  return static_cast<Fill>(random.between(0, kFills - 1));
}

// Bytes by which x must lie behind the start of y when y overwrites it (docs/artifact.md), rounded
// up as the plan does.
size_t overlap_distance(const Conv2dShape& s) {
  int32_t distance = 0;
  for (int32_t r = 0; r < s.out_h; ++r) {
    const int32_t first_row = r * s.stride_h - s.pad_top;
    const int32_t kept = (first_row > 0 ? first_row : 0) * s.in_w * s.in_c;
    const int32_t written = (r + 1) * s.out_w * s.out_c;
    if (written - kept > distance) distance = written - kept;
  }
  return static_cast<size_t>(round_up_16(static_cast<uint64_t>(distance)));
}

void forward_in_place(Group& group, const Conv2dShape& s, Buffer<int8_t>& x, Buffer<int8_t>& w,
                      const int32_t* bias, const Requantizer& q, Buffer<uint8_t>& scratch,
                      Buffer<int8_t>& expected) {
  const size_t distance = overlap_distance(s);
  const size_t end = distance + x.size() > expected.size() ? distance + x.size() : expected.size();
  Buffer<int8_t> both(end);
  for (size_t i = 0; i < x.size(); ++i) both[distance + i] = x[i];
  conv2d_s8_fwd(s, both.data() + distance, w.data(), bias, q.rq, scratch.data(), both.data());
  Buffer<int8_t> y(expected.size());
  for (size_t i = 0; i < y.size(); ++i) y[i] = both[i];
  group.equal("y over x", expected, y);
  group.intact("y over x", both);
}

// Collects what the weight gradient's kernel hands out, and spoils it there, as a sink may.
struct Rows {
  Buffer<int32_t>* g;
  Buffer<int32_t>* bias;
  size_t row;
  int32_t next;
  bool in_order;
};

void collect(void* context, const GradientRows& rows) {
  Rows& all = *static_cast<Rows*>(context);
  all.in_order = all.in_order && rows.first_row == all.next && rows.count >= 1 && rows.count <= 4;
  all.next += rows.count;
  if (static_cast<size_t>(all.next) > all.bias->size()) all.in_order = false;
  if (!all.in_order) return;
  for (int32_t r = 0; r < rows.count; ++r) {
    const size_t row = static_cast<size_t>(rows.first_row + r);
    for (size_t k = 0; k < all.row; ++k) {
      (*all.g)[row * all.row + k] = rows.g[r][k];
      rows.g[r][k] = -1;
    }
    (*all.bias)[row] = rows.bias[r];
  }
}

void weight_gradient_case(Group& group, const Conv2dShape& s, Random& random, Fill how, bool wide) {
  const int32_t room = 22 - bitlen(static_cast<uint64_t>(s.out_h * s.out_w - 1));
  const Errors e(random, how, output_size(s), wide, clamp(room, 7, 11));
  Buffer<int8_t> x(input_size(s));
  fill(random, how, -128, 127, x);
  const int32_t zero_point = random.between(-128, 127);
  const size_t channels = static_cast<size_t>(s.out_c);
  Buffer<int32_t> g(channels * row_size(s));
  Buffer<int32_t> bias(channels);
  for (int32_t o = 0; o < s.out_c; ++o) {
    const size_t row = static_cast<size_t>(o);
    conv2d_s8_bwd_weight_row_ref(s, e.view, x.data(), zero_point, o, &g[row * row_size(s)],
                                 &bias[row]);
  }
  const auto check = [&](const char* what, auto kernel) {
    Buffer<int32_t> found(g.size());
    Buffer<int32_t> found_bias(channels);
    Buffer<uint8_t> scratch(static_cast<size_t>(conv2d_s8_bwd_weight_scratch_bytes(s)));
    Rows rows = {&found, &found_bias, row_size(s), 0, true};
    kernel(s, e.view, x.data(), zero_point, scratch.data(), collect, &rows);
    group.claim("order of the rows", rows.in_order && rows.next == s.out_c);
    group.equal(what, g, found);
    group.equal(what, bias, found_bias);
    group.intact("scratch", scratch);
  };
  check("gradient", conv2d_s8_bwd_weight);
  check("portable gradient", conv2d_s8_bwd_weight_portable);
}

}  // namespace

void conv2d_forward() {
  Group group("conv2d forward");
  for (uint32_t number = 0; number < kCases; ++number) {
    Random random(mix32(number));
    const Conv2dShape s = shape_of(number, random);
    const Fill how = fill_of(number, random);
    group.begin(number, s);
    const size_t channels = static_cast<size_t>(s.out_c);
    Buffer<int8_t> x(input_size(s));
    Buffer<int8_t> w(row_size(s) * channels);
    Buffer<int32_t> biases(channels);
    fill(random, how, -128, 127, x);
    fill(random, how, -127, 127, w);
    const int32_t largest = random.one_in(3) ? 1 << 30 : 1 << 14;
    fill(random, Fill::kRandom, -largest, largest, biases);
    const int32_t* const bias = random.one_in(6) ? nullptr : biases.data();
    Requantizer q(random, s.out_c);
    if (how != Fill::kRandom && random.one_in(2))
      q.rq.in_zero_point = random.one_in(2) ? -128 : 127;
    Buffer<uint8_t> scratch(static_cast<size_t>(conv2d_s8_fwd_scratch_bytes(s)));
    Buffer<int8_t> expected(output_size(s));
    Buffer<int8_t> fast(output_size(s));
    Buffer<int8_t> portable(output_size(s));
    conv2d_s8_fwd_ref(s, x.data(), w.data(), bias, q.rq, expected.data());
    conv2d_s8_fwd(s, x.data(), w.data(), bias, q.rq, scratch.data(), fast.data());
    group.equal("y", expected, fast);
    group.intact("scratch", scratch);
    conv2d_s8_fwd_portable(s, x.data(), w.data(), bias, q.rq, scratch.data(), portable.data());
    group.equal("portable y", expected, portable);
    group.intact("scratch", scratch);
    forward_in_place(group, s, x, w, bias, q, scratch, expected);
  }
}

void conv2d_input_gradient() {
  Group group("conv2d input gradient");
  for (uint32_t number = 0; number < kCases; ++number) {
    Random random(mix32(0x10000 + number));
    const Conv2dShape s = shape_of(number, random);
    const Fill how = fill_of(number, random);
    group.begin(number, s);
    const Errors e(random, how, output_size(s), random.one_in(2), 7);
    const size_t channels = static_cast<size_t>(s.out_c);
    Buffer<int8_t> w(row_size(s) * channels);
    Buffer<int16_t> q(channels);
    fill(random, how, -127, 127, w);
    fill(random, Fill::kRandom, random.one_in(4) ? 0 : 16384, 32767, q);
    if (how != Fill::kRandom) fill(random, Fill::kHighest, 0, 32767, q);
    const int32_t shift = random.one_in(4) ? random.between(0, 24) : random.between(8, 16);
    Buffer<uint8_t> scratch(static_cast<size_t>(conv2d_s8_bwd_input_scratch_bytes(s)));
    Buffer<int8_t> expected(input_size(s));
    Buffer<int8_t> fast(input_size(s));
    Buffer<int8_t> portable(input_size(s));
    const uint32_t largest =
        conv2d_s8_bwd_input_ref(s, e.view, w.data(), q.data(), shift, expected.data());
    group.claim("largest magnitude", conv2d_s8_bwd_input(s, e.view, w.data(), q.data(), shift,
                                                         scratch.data(), fast.data()) == largest);
    group.equal("e_x", expected, fast);
    group.intact("scratch", scratch);
    group.claim("largest magnitude, portable",
                conv2d_s8_bwd_input_portable(s, e.view, w.data(), q.data(), shift, scratch.data(),
                                             portable.data()) == largest);
    group.equal("portable e_x", expected, portable);
    group.intact("scratch", scratch);
  }
}

void conv2d_weight_gradient() {
  Group group("conv2d weight gradient");
  for (uint32_t number = 0; number < kCases; ++number) {
    Random random(mix32(0x20000 + number));
    const Conv2dShape s = shape_of(number, random);
    const Fill how = fill_of(number, random);
    group.begin(number, s);
    weight_gradient_case(group, s, random, how, random.one_in(2));
  }
}

}  // namespace tbft::grid
