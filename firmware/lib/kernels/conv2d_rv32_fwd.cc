// Forward pass on RV32IMC.
#include "kernels/dispatch.h"

#if TBFT_KERNELS_RV32

#include "kernels/direct_rv32.h"
#include "kernels/requantize.h"
#include "kernels/winograd_rv32.h"

namespace tbft {
namespace {

using rv32::kTile;

// A channel's requantization, from four times a sum without its bias.
struct Channel {
  FastScale scale;
  int32_t bias_times_four;
  bool fast;

  int32_t operator()(int32_t acc_times_four) const {
    return scale(acc_times_four + bias_times_four);
  }
};

Channel make_channel(int32_t bias, int64_t acc_limit, const Requantization& rq, int32_t o) {
  if (!FastScale::takes(rq.shift[o]) ||
      magnitude(bias) + acc_limit > FastScale::kLargestInput / 4) {
    return {{}, 0, false};
  }
  return {FastScale(rq.multiplier[o], rq.shift[o], rq.out_zero_point), 4 * bias, true};
}

// What the sums of four output channels become.
class Writer {
 public:
  Writer(const Conv2dShape& s, const int32_t* bias, const Requantization& rq, int64_t acc_limit,
         int8_t* y)
      : s_(s), bias_(bias), rq_(rq), acc_limit_(acc_limit), y_(y) {}

  void begin(int32_t filter) {
    first_ = filter;
    count_ = s_.out_c - filter < 4 ? s_.out_c - filter : 4;
    for (int32_t o = 0; o < count_; ++o) {
      const int32_t bias = bias_ == nullptr ? 0 : bias_[filter + o];
      channel_[o] = make_channel(bias, acc_limit_, rq_, filter + o);
    }
  }

  // A pair of tiles' sums: point p of tile t and channel o at sums[16 * p + 4 * t + o]. Limits are
  // copied: the stores of int8 could change members, for all the compiler knows.
  void write_tiles(int32_t row, int32_t tile, const int32_t* sums) const {
    const int32_t low = rq_.act_min;
    const int32_t high = rq_.act_max;
    const int32_t step = s_.out_c;
    for (int32_t t = 0; t < 2; ++t) {
      const int32_t x = kTile * (tile + t);
      const int32_t pixels = s_.out_w - x < kTile ? s_.out_w - x : kTile;
      if (pixels <= 0) return;
      int8_t* const to = y_ + (row * s_.out_w + x) * step + first_;
      for (int32_t o = 0; o < count_; ++o) {
        int32_t acc[kTile];
        rv32::outputs_times_four<16>(sums + 4 * t + o, acc);
        const Channel channel = channel_[o];
        int8_t* out = to + o;
        if (!channel.fast) {
          for (int32_t j = 0; j < pixels; ++j, out += step) *out = exact(acc[j] >> 2, o);
        } else if (pixels == kTile) {
          for (int32_t j = 0; j < kTile; ++j, out += step) {
            *out = static_cast<int8_t>(clamp(channel(acc[j]), low, high));
          }
        } else {
          for (int32_t j = 0; j < pixels; ++j, out += step) {
            *out = static_cast<int8_t>(clamp(channel(acc[j]), low, high));
          }
        }
      }
    }
  }

  // Sums of count outputs: output j and channel o at sums[4 * j + o].
  void write_sums(int32_t row, int32_t x, int32_t count, const int32_t* sums) const {
    const int32_t low = rq_.act_min;
    const int32_t high = rq_.act_max;
    const int32_t step = s_.out_c;
    int8_t* const to = y_ + (row * s_.out_w + x) * step + first_;
    for (int32_t o = 0; o < count_; ++o) {
      const Channel channel = channel_[o];
      int8_t* out = to + o;
      for (int32_t j = 0; j < count; ++j, out += step) {
        const int32_t acc = sums[4 * j + o];
        *out =
            channel.fast ? static_cast<int8_t>(clamp(channel(4 * acc), low, high)) : exact(acc, o);
      }
    }
  }

 private:
  int8_t exact(int32_t acc, int32_t o) const {
    const int32_t bias = bias_ == nullptr ? 0 : bias_[first_ + o];
    return requantize(wrapping_add(acc, bias), rq_, first_ + o);
  }

  const Conv2dShape& s_;
  const int32_t* const bias_;
  const Requantization& rq_;
  const int64_t acc_limit_;
  int8_t* const y_;
  int32_t first_;
  int32_t count_;
  Channel channel_[4];
};

bool fwd_winograd(const Conv2dShape& s, const int8_t* x, const int8_t* w, const int32_t* bias,
                  const Requantization& rq, void* scratch, int8_t* y) {
  const int64_t acc_limit = int64_t{9} * s.in_c * 255 * 128;
  if (s.kernel_h != 3 || s.kernel_w != 3 || s.stride_h != 1 || s.stride_w != 1 ||
      acc_limit >= rv32::kWinogradLimit) {
    return false;
  }
  rv32::Winograd form;
  if (!form.init({s.in_h, s.out_h, s.out_w, s.in_c, s.out_c, s.pad_top}, scratch,
                 conv2d_s8_fwd_scratch_bytes(s))) {
    return false;
  }
  const int32_t channels = s.in_c;
  int8_t* const outside = reinterpret_cast<int8_t*>(form.free_room());
  const auto input = [&](int32_t iy, int16_t* to) {
    for (int32_t i = 0; i < channels; ++i) outside[i] = static_cast<int8_t>(rq.in_zero_point);
    rv32::for_each_tile(x + iy * s.in_w * channels, s.in_w, channels, s.pad_left, outside,
                        form.tiles(), [&](int32_t t, const int8_t* const* d) {
                          int16_t* out = to + (t >> 1) * form.pair() + (t & 1);
                          const int32_t zero_sum = 6 * rq.in_zero_point;
                          const int8_t* d0 = d[0];
                          const int8_t* d1 = d[1];
                          const int8_t* d2 = d[2];
                          const int8_t* d3 = d[3];
                          const int8_t* d4 = d[4];
                          const int8_t* d5 = d[5];
                          for (int32_t i = 0; i < channels; ++i, out += 2 * rv32::kPoints) {
                            rv32::transform_inputs<2>(d0[i], d1[i], d2[i], d3[i], d4[i], d5[i],
                                                      zero_sum, out);
                          }
                        });
  };
  const int32_t length = 9 * channels;
  const auto weights = [&](int32_t filter, int32_t ky, int32_t count, int16_t* to) {
    for (int32_t o = 0; o < 4; ++o) {
      const int8_t* from = w + (filter + o) * length + ky * 3 * channels;
      int16_t* out = to + o;
      if (filter + o >= s.out_c) {
        for (int32_t k = 0; k < count * channels * rv32::kPoints; ++k) out[4 * k] = 0;
        continue;
      }
      for (int32_t k = 0; k < count; ++k, from += 3 * channels) {
        const int8_t* g0 = from;
        const int8_t* g1 = from + channels;
        const int8_t* g2 = from + 2 * channels;
#pragma GCC unroll 4
        for (int32_t i = 0; i < channels; ++i, out += 4 * rv32::kPoints) {
          rv32::transform_weights<4>(g0[i], g1[i], g2[i], out);
        }
      }
    }
  };
  Writer writer(s, bias, rq, acc_limit, y);
  int32_t current = -1;
  form.run(input, weights, [&](int32_t filter, int32_t row, int32_t tile, const int32_t* sums) {
    if (filter != current) writer.begin(current = filter);
    writer.write_tiles(row, tile, sums);
  });
  return true;
}

bool fwd_direct(const Conv2dShape& s, const int8_t* x, const int8_t* w, const int32_t* bias,
                const Requantization& rq, void* scratch, int8_t* y) {
  rv32::Direct form;
  if (!form.init({s.in_h, s.out_h, s.out_w, s.kernel_h, s.kernel_w, s.stride_h, -s.pad_top, s.in_c,
                  s.out_c},
                 scratch, conv2d_s8_fwd_scratch_bytes(s))) {
    return false;
  }
  const int32_t length = s.kernel_h * s.kernel_w * s.in_c;
  const int32_t zero_point = rq.in_zero_point;
  const auto input = [&](int32_t iy, int16_t* to) {
    rv32::pack_direct_row(
        x + iy * s.in_w * s.in_c, s.in_w, s.in_c, -s.pad_left, s.stride_w, s.kernel_w, s.out_w,
        [zero_point](int32_t value) { return value - zero_point; }, to);
  };
  const auto weights = [&](int32_t filter, int16_t* to) {
    for (int32_t o = 0; o < 4; ++o) {
      const int8_t* const from = w + (filter + o) * length;
      if (filter + o < s.out_c) {
        for (int32_t k = 0; k < length; ++k) to[4 * k + o] = from[k];
      } else {
        for (int32_t k = 0; k < length; ++k) to[4 * k + o] = 0;
      }
    }
  };
  Writer writer(s, bias, rq, int64_t{length} * 255 * 128, y);
  int32_t current = -1;
  form.run(input, weights,
           [&](int32_t filter, int32_t row, int32_t column, int32_t count, const int32_t* sums) {
             if (filter != current) writer.begin(current = filter);
             writer.write_sums(row, column, count, sums);
           });
  return true;
}

}  // namespace

bool conv2d_s8_fwd_rv32(const Conv2dShape& s, const int8_t* x, const int8_t* w, const int32_t* bias,
                        const Requantization& rq, void* scratch, int8_t* y) {
  return fwd_winograd(s, x, w, bias, rq, scratch, y) || fwd_direct(s, x, w, bias, rq, scratch, y);
}

}  // namespace tbft

#endif
