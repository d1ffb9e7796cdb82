// Forward pass and input gradient on x86 (AVX2 and up).
#include "kernels/dispatch.h"

#if TBFT_KERNELS_X86

#include "kernels/scaled_weight.h"
#include "kernels/x86_strip_conv.h"

namespace tbft {
namespace {

using x86::load_64;
using x86::store_256;

int32_t lanes_of(int32_t block, int32_t channels) {
  const int32_t left = channels - 8 * block;
  return left < 8 ? left : 8;
}

// int8 weights [o][ky][length] to [ky][pair][8 output channels][2].
void pack_block(const Conv2dShape& s, const int8_t* w, int32_t block, int16_t* to) {
  const int32_t length = s.kernel_w * s.in_c;
  const int32_t row_length = s.kernel_h * length;
  const int32_t lanes = lanes_of(block, s.out_c);
  const int8_t* const rows = w + int64_t{8} * block * row_length;
  for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
    const int8_t* const from = rows + ky * length;
    int32_t k = 0;
    for (; lanes == 8 && k + 16 <= length; k += 16, to += 128) {
      __m256i m[8];
      for (int i = 0; i < 8; ++i) {
        m[i] = _mm256_cvtepi8_epi16(x86::load_128(from + i * row_length + k));
      }
      x86::transpose_8x8(m);
      for (int i = 0; i < 8; ++i) store_256(to + 16 * i, m[i]);
    }
    for (; k < length; k += 2, to += 16) {
      for (int32_t i = 0; i < 8; ++i) {
        const int8_t* const pair = from + i * row_length + k;
        to[2 * i] = i < lanes ? pair[0] : int16_t{0};
        to[2 * i + 1] = i < lanes && k + 1 < length ? pair[1] : int16_t{0};
      }
    }
  }
}

class ActivationSink {
 public:
  ActivationSink(const Conv2dShape& s, const Requantization& rq, const int32_t* bias, int8_t* y)
      : s_(s), rq_(rq), bias_(bias), y_(y) {}

  struct Writer {
    int8_t* to;
    int32_t pixel_step;
    int32_t lanes[2];
    x86::Requantize8 requantize[2];

    void operator()(int b, int32_t ox, __m256i acc) const {
      x86::store_partial_s8(to + ox * pixel_step + 8 * b, requantize[b](acc), lanes[b]);
    }
  };

  Writer writer(int32_t block, int32_t blocks, int32_t oy) const {
    Writer writer = {y_ + oy * s_.out_w * s_.out_c + 8 * block, s_.out_c, {}, {}};
    for (int32_t b = 0; b < blocks; ++b) {
      writer.lanes[b] = lanes_of(block + b, s_.out_c);
      writer.requantize[b] = x86::Requantize8(rq_, bias_, 8 * (block + b), writer.lanes[b]);
    }
    return writer;
  }

  void done(const Writer&) const {}

 private:
  const Conv2dShape& s_;
  const Requantization& rq_;
  const int32_t* bias_;
  int8_t* y_;
};

// One axis of the input positions that share a remainder of (position + pad) by the stride: they
// meet the same taps, and for them the input gradient is a convolution over the error with
// stride 1.
struct Phase {
  int32_t first_tap;
  int32_t taps;
  int32_t first_position;
  int32_t positions;
  int32_t pad;  // of the convolution over the error; may be negative
};

Phase phase_of(int32_t remainder, int32_t kernel, int32_t stride, int32_t pad, int32_t size) {
  Phase phase = {remainder, 0, (remainder - pad) % stride, 0, 0};
  if (phase.first_position < 0) phase.first_position += stride;
  if (remainder < kernel) phase.taps = (kernel - 1 - remainder) / stride + 1;
  if (phase.first_position < size) {
    phase.positions = (size - 1 - phase.first_position) / stride + 1;
  }
  phase.pad = phase.taps - 1 - (phase.first_position + pad - remainder) / stride;
  return phase;
}

// Scaled weights of a phase, taps reversed: [ty][pair over (tx, o)][8 input channels][2].
class ScaledWeights {
 public:
  ScaledWeights(const Conv2dShape& s, const int8_t* w, const int16_t* q, const Phase& py,
                const Phase& px)
      : s_(s), w_(w), q_(q), py_(py), px_(px) {}

  void pack(int32_t block, int16_t* to) const {
    const int32_t lanes = lanes_of(block, s_.in_c);
    const bool even = s_.out_c % 2 == 0;
    const int32_t row_length = s_.kernel_h * s_.kernel_w * s_.in_c;
    for (int32_t ty = 0; ty < py_.taps; ++ty) {
      if (lanes == 8 && even) {
        for (int32_t tx = 0; tx < px_.taps; ++tx) {
          const int8_t* from = tap(ty, tx) + 8 * block;
          for (int32_t o = 0; o < s_.out_c; o += 2, from += 2 * row_length, to += 16) {
            const __m128i bytes = _mm_unpacklo_epi8(load_64(from), load_64(from + row_length));
            // mulhrs(16w, q) = (16wq + 2^14) >> 15 = (wq + 1024) >> 11.
            const __m256i words = _mm256_slli_epi16(_mm256_cvtepi8_epi16(bytes), 4);
            const __m256i factors = _mm256_set1_epi32(x86::load_dword(q_ + o));
            store_256(to, _mm256_mulhrs_epi16(words, factors));
          }
        }
      } else {
        to = pack_any(ty, 8 * block, lanes, to);
      }
    }
  }

 private:
  const int8_t* tap(int32_t ty, int32_t tx) const {
    const int32_t ky = py_.first_tap + (py_.taps - 1 - ty) * s_.stride_h;
    const int32_t kx = px_.first_tap + (px_.taps - 1 - tx) * s_.stride_w;
    return w_ + (ky * s_.kernel_w + kx) * s_.in_c;
  }

  int16_t* pack_any(int32_t ty, int32_t channel, int32_t lanes, int16_t* to) const {
    const int32_t row_length = s_.kernel_h * s_.kernel_w * s_.in_c;
    const int32_t length = px_.taps * s_.out_c;
    for (int32_t k = 0; k < length + length % 2; ++k) {
      for (int32_t i = 0; i < 8; ++i) {
        int32_t value = 0;
        if (i < lanes && k < length) {
          const int32_t o = k % s_.out_c;
          const int8_t* const from = tap(ty, k / s_.out_c) + o * row_length + channel;
          value = scaled_weight(from[i], q_[o]);
        }
        to[2 * i + k % 2] = static_cast<int16_t>(value);
      }
      if (k % 2 == 1) to += 16;
    }
    return to;
  }

  const Conv2dShape& s_;
  const int8_t* w_;
  const int16_t* q_;
  const Phase& py_;
  const Phase& px_;
};

class InputErrorSink {
 public:
  InputErrorSink(const Conv2dShape& s, const Phase& py, const Phase& px, int32_t shift, int8_t* e_x)
      : s_(s), py_(py), px_(px), shift_(shift), e_x_(e_x) {}

  struct Writer {
    int8_t* to;
    int32_t pixel_step;
    int32_t lanes[2];
    x86::ErrorStore8 narrow;

    void operator()(int b, int32_t ox, __m256i acc) {
      x86::store_partial_s8(to + ox * pixel_step + 8 * b, narrow(acc), lanes[b]);
    }
  };

  Writer writer(int32_t block, int32_t blocks, int32_t oy) const {
    const int32_t iy = py_.first_position + oy * s_.stride_h;
    int8_t* const to = e_x_ + (iy * s_.in_w + px_.first_position) * s_.in_c + 8 * block;
    Writer writer = {to, s_.stride_w * s_.in_c, {}, x86::ErrorStore8(shift_)};
    for (int32_t b = 0; b < blocks; ++b) writer.lanes[b] = lanes_of(block + b, s_.in_c);
    return writer;
  }

  void done(const Writer& writer) {
    largest_ = _mm256_max_epu32(largest_, writer.narrow.largest_lanes());
  }

  uint32_t largest() const { return x86::largest_lane(largest_); }

 private:
  const Conv2dShape& s_;
  const Phase& py_;
  const Phase& px_;
  int32_t shift_;
  int8_t* e_x_;
  __m256i largest_ = _mm256_setzero_si256();
};

void zero_phase(const Conv2dShape& s, const Phase& py, const Phase& px, int8_t* e_x) {
  for (int32_t y = 0; y < py.positions; ++y) {
    for (int32_t x = 0; x < px.positions; ++x) {
      const int32_t iy = py.first_position + y * s.stride_h;
      const int32_t ix = px.first_position + x * s.stride_w;
      int8_t* const to = e_x + (iy * s.in_w + ix) * s.in_c;
      for (int32_t i = 0; i < s.in_c; ++i) to[i] = 0;
    }
  }
}

Conv2dShape phase_shape(const Conv2dShape& s, const Phase& py, const Phase& px) {
  return {s.out_h, s.out_w, s.out_c, py.positions, px.positions, s.in_c, py.taps,
          px.taps, 1,       1,       py.pad,       px.pad};
}

}  // namespace

bool conv2d_s8_fwd_x86(const Conv2dShape& s, const int8_t* x, const int8_t* w, const int32_t* bias,
                       const Requantization& rq, int8_t* y) {
  if (!x86::strip_fits(s)) return false;
  ActivationSink sink(s, rq, bias, y);
  x86::strip_conv(
      s,
      [&](int32_t first, int32_t n, int16_t* to) {
        x86::widen_minus(x + first, n, rq.in_zero_point, to);
      },
      [&](int32_t block, int16_t* to) { pack_block(s, w, block, to); }, sink);
  return true;
}

bool conv2d_s8_bwd_input_x86(const Conv2dShape& s, const ErrorView& e_y, const int8_t* w,
                             const int16_t* q, int32_t shift, int8_t* e_x, uint32_t* largest) {
  // No phase has more taps than the whole kernel or more positions than the input.
  const Conv2dShape whole = {s.out_h,    s.out_w,    s.out_c, s.in_h, s.in_w, s.in_c,
                             s.kernel_h, s.kernel_w, 1,       1,      0,      0};
  if (!x86::strip_fits(whole)) return false;
  *largest = 0;
  const x86::ErrorLoader errors(e_y);
  for (int32_t ry = 0; ry < s.stride_h; ++ry) {
    const Phase py = phase_of(ry, s.kernel_h, s.stride_h, s.pad_top, s.in_h);
    for (int32_t rx = 0; rx < s.stride_w; ++rx) {
      const Phase px = phase_of(rx, s.kernel_w, s.stride_w, s.pad_left, s.in_w);
      if (py.positions == 0 || px.positions == 0) continue;
      if (py.taps == 0 || px.taps == 0) {
        zero_phase(s, py, px, e_x);
        continue;
      }
      const Conv2dShape shape = phase_shape(s, py, px);
      const ScaledWeights weights(s, w, q, py, px);
      InputErrorSink sink(s, py, px, shift, e_x);
      x86::strip_conv(
          shape, [&](int32_t first, int32_t n, int16_t* to) { errors.widen(first, n, to); },
          [&](int32_t block, int16_t* to) { weights.pack(block, to); }, sink);
      if (sink.largest() > *largest) *largest = sink.largest();
    }
  }
  return true;
}

}  // namespace tbft

#endif  // TBFT_KERNELS_X86
