// Input gradient with the Cortex-M DSP extension: the errors become padded int16 rows, and input
// positions that meet the same kernel taps (one phase of the stride) are a dense correlation of
// them with the scaled weights, two input channels by two positions at a time.
#include "kernels/dispatch.h"

#if TBFT_KERNELS_ARM_DSP

#include "kernels/arm_dsp.h"
#include "kernels/arm_dsp_dot.h"
#include "kernels/arm_dsp_winograd.h"
#include "kernels/conv2d_scratch.h"
#include "kernels/scaled_weight.h"

namespace tbft {
namespace {

constexpr int32_t kChannelsOfB = 4;

// Input positions of one axis with the same remainder of (position + pad) by the stride: first,
// first + stride ... They meet taps last_tap, last_tap - stride ..., in ascending order of errors.
struct Phase {
  int32_t taps;
  int32_t last_tap;
  int32_t first_position;
  int32_t positions;
  int32_t first_error;  // number of the error that the first position meets with last_tap
};

Phase phase_of(int32_t remainder, int32_t kernel, int32_t stride, int32_t pad, int32_t in) {
  Phase p = {};
  p.taps = remainder < kernel ? (kernel - 1 - remainder) / stride + 1 : 0;
  p.last_tap = remainder + (p.taps - 1) * stride;
  const int32_t offset = (remainder - pad) % stride;
  p.first_position = offset < 0 ? offset + stride : offset;
  p.positions = p.first_position < in ? (in - 1 - p.first_position) / stride + 1 : 0;
  // Exact: the remainder has been taken off; maybe negative.
  p.first_error = (p.first_position + pad - remainder) / stride - (p.taps - 1);
  return p;
}

// Errors of two input channels.
struct ErrorSink {
  arm::ErrorOutput output;
  bool two_channels;
  int32_t pixel_step;  // from one position of the phase to the next

  void operator()(int8_t* to, const arm::FourSums& s, bool both) {
    uint32_t word = static_cast<uint32_t>(output(s.a0));
    if (two_channels) word = arm::insert_byte<1>(word, output(s.b0));
    if (both) {
      word = arm::insert_byte<2>(word, output(s.a1));
      if (two_channels) word = arm::insert_byte<3>(word, output(s.b1));
    }
    word = arm::ErrorOutput::symmetric(word);
    store(to, word);
    if (both) store(to + pixel_step, word >> 16);
  }

  void store(int8_t* to, uint32_t word) const {
    if (two_channels) {
      arm::store_half(to, word);
    } else {
      *to = static_cast<int8_t>(word);
    }
  }
};

class InputGradient {
 public:
  InputGradient(const Conv2dShape& s, const ErrorView& e_y, const int8_t* w, const int16_t* q,
                int32_t shift, void* scratch, int8_t* e_x)
      : s_(s),
        e_y_(e_y),
        w_(w),
        q_(q),
        shift_(shift),
        e_x_(e_x),
        layout_(conv2d_s8_bwd_input_scratch(s)),
        all_weights_(layout_.is_a()),
        pitch_(static_cast<int32_t>(layout_.error_row_bytes / sizeof(int16_t))),
        weight_words_(static_cast<int32_t>(layout_.weight_row_bytes / sizeof(uint32_t))),
        capacity_(all_weights_ ? s.kernel_h + 1 : static_cast<int32_t>(layout_.error_rows)),
        rows_(static_cast<int16_t*>(scratch), pitch_, capacity_),
        weights_(static_cast<uint32_t*>(scratch) + capacity_ * pitch_ / 2) {
    lead_h_ = static_cast<int32_t>(bwd_input_lead(s.kernel_h, s.stride_h, s.pad_top));
    lead_w_ = static_cast<int32_t>(bwd_input_lead(s.kernel_w, s.stride_w, s.pad_left));
  }

  // Whether the weights fit: kernel rows of odd length are padded, and channels come in pairs.
  bool fits() const {
    int32_t words = 0;
    for (int32_t rx = 0; rx < s_.stride_w; ++rx) {
      words += (phase_x(rx).taps * s_.out_c + 1) / 2 * s_.kernel_h;
    }
    const uint64_t words_held =
        static_cast<uint64_t>(capacity_ * pitch_ / 2) +
        static_cast<uint64_t>(group() + 1) / 2 * 2 * static_cast<uint64_t>(weight_words_);
    return words <= weight_words_ &&
           sizeof(uint32_t) * words_held <= conv2d_s8_bwd_input_scratch_bytes(s_);
  }

  template <bool kQuads>
  uint32_t run() {
    for (int32_t i = 0; i < s_.in_c; i += group()) {
      const int32_t channels = s_.in_c - i < group() ? s_.in_c - i : group();
      if (all_weights_) rows_.restart();
      pack_weights<kQuads>(i, channels);
      // Rows of input positions in ascending order, so that the ring only moves forward.
      for (int32_t iy = 0; iy < s_.in_h; ++iy) input_row<kQuads>(iy, i, channels);
    }
    return largest_;
  }

 private:
  // Input channels whose weights are held at a time: all, in pairs.
  int32_t group() const {
    if (!all_weights_) return kChannelsOfB;
    return s_.in_c > 1 ? s_.in_c - s_.in_c % 2 : 1;
  }

  Phase phase_y(int32_t r) const {
    return phase_of(r, s_.kernel_h, s_.stride_h, s_.pad_top, s_.in_h);
  }
  Phase phase_x(int32_t r) const {
    return phase_of(r, s_.kernel_w, s_.stride_w, s_.pad_left, s_.in_w);
  }

  // Of each pair of channels: [phase y][phase x][tap y][tap x][o], the two channels in turn.
  template <bool kQuads>
  void pack_weights(int32_t first, int32_t channels) {
    uint32_t* to = weights_;
    for (int32_t i = first; i < first + channels; i += 2, to += 2 * weight_words_) {
      const int32_t next = i + 1 < s_.in_c ? 1 : 0;
      uint32_t* at = to;
      for (int32_t ry = 0; ry < s_.stride_h; ++ry) {
        const Phase py = phase_y(ry);
        for (int32_t rx = 0; rx < s_.stride_w; ++rx) {
          const Phase px = phase_x(rx);
          for (int32_t ty = 0; ty < py.taps; ++ty) {
            at = pack_run<kQuads>(w_ + i, py.last_tap - ty * s_.stride_h, px, next, at);
          }
        }
      }
    }
  }

  template <bool kQuads>
  uint32_t* pack_run(const int8_t* w, int32_t ky, const Phase& px, int32_t next,
                     uint32_t* to) const {
    const int32_t length = s_.kernel_h * s_.kernel_w * s_.in_c;
    if (kQuads) {
      for (int32_t tx = 0; tx < px.taps; ++tx) {
        const int32_t kx = px.last_tap - tx * s_.stride_w;
        const int8_t* from = w + (ky * s_.kernel_w + kx) * s_.in_c;
        for (int32_t o = 0; o < s_.out_c; o += 4, from += 4 * length, to += 4) {
          const arm::ScaledQuad quad = arm::scaled_quad(from, length, next, q_ + o);
          to[0] = quad.a_even;
          to[1] = quad.b_even;
          to[2] = quad.a_odd;
          to[3] = quad.b_odd;
        }
      }
      return to;
    }
    const int32_t run = px.taps * s_.out_c;
    for (int32_t k = 0; k < run; k += 2, to += 2) {
      int32_t a[2] = {0, 0};
      int32_t b[2] = {0, 0};
      for (int32_t j = 0; j < 2 && k + j < run; ++j) {
        const int32_t kx = px.last_tap - (k + j) / s_.out_c * s_.stride_w;
        const int32_t o = (k + j) % s_.out_c;
        const int8_t* const from = w + o * length + (ky * s_.kernel_w + kx) * s_.in_c;
        a[j] = scaled_weight(from[0], q_[o]);
        b[j] = scaled_weight(from[next], q_[o]);
      }
      to[0] = arm::pack_low(static_cast<uint32_t>(a[0]), static_cast<uint32_t>(a[1]));
      to[1] = arm::pack_low(static_cast<uint32_t>(b[0]), static_cast<uint32_t>(b[1]));
    }
    return to;
  }

  // Error row number `row`; 0 is the first of the zeros in front.
  template <bool kQuads>
  void fill_row(int32_t row, int16_t* to) const {
    const int32_t oy = row - lead_h_;
    if (oy < 0 || oy >= s_.out_h) {
      arm::fill_zero(pitch_, to);
      return;
    }
    const int32_t before = lead_w_ * s_.out_c;
    // Errors at the right that no input position meets are left out.
    const int32_t n = clamp(s_.out_w * s_.out_c, 0, extent() * s_.out_c - before);
    arm::fill_zero(before, to);
    // Narrowed in place: the bytes end where the row's int16 end, and are read before they are
    // overwritten.
    int8_t* const buffer = reinterpret_cast<int8_t*>(to + before) + n;
    const int8_t* const from = arm::narrow_errors(e_y_, oy * s_.out_w * s_.out_c, n, buffer);
    if (kQuads) {
      arm::widen_quads(from, n, 0, to + before);
    } else {
      for (int32_t k = 0; k < n; ++k) to[before + k] = from[k];
    }
    arm::fill_zero(pitch_ - before - n, to + before + n);
  }

  int32_t extent() const {
    return static_cast<int32_t>(bwd_input_extent(s_.in_w, s_.kernel_w, s_.stride_w, s_.pad_left));
  }

  template <bool kQuads>
  void input_row(int32_t iy, int32_t first, int32_t channels) {
    const int32_t ry = (iy + s_.pad_top) % s_.stride_h;
    const Phase py = phase_y(ry);
    const int16_t* errors = nullptr;
    if (py.taps > 0) {
      const int32_t row = py.first_error + (iy - py.first_position) / s_.stride_h + lead_h_;
      errors = rows_.get(row, py.taps, [&](int32_t r, int16_t* to) { fill_row<kQuads>(r, to); });
    }
    for (int32_t rx = 0; rx < s_.stride_w; ++rx) {
      const Phase px = phase_x(rx);
      int8_t* const out = e_x_ + (iy * s_.in_w + px.first_position) * s_.in_c + first;
      const int32_t step = s_.stride_w * s_.in_c;
      if (py.taps == 0 || px.taps == 0) {
        for (int32_t at = 0; at < px.positions; ++at) {
          for (int32_t i = 0; i < channels; ++i) out[at * step + i] = 0;
        }
        continue;
      }
      const int32_t run = px.taps * s_.out_c;
      const int32_t skip = (px.first_error + lead_w_) * s_.out_c;
      const uint32_t* w = weights_ + phase_offset(ry, rx, py);
      for (int32_t i = 0; i < channels; i += 2, w += 2 * weight_words_) {
        ErrorSink sink = {arm::ErrorOutput(shift_), first + i + 1 < s_.in_c, step};
        int8_t* const to = out + i;
        arm::dot_rows(errors + skip, pitch_, py.taps, run, s_.out_c, px.positions, kQuads, w, 0, 0,
                      [&](int32_t at, const arm::FourSums& sums, bool both) {
                        sink(to + at * step, sums, both);
                      });
        if (sink.output.largest() > largest_) largest_ = sink.output.largest();
      }
    }
  }

  // Where the phase's weights start among those of a pair of channels.
  int32_t phase_offset(int32_t ry, int32_t rx, const Phase& py) const {
    int32_t rows_before = 0;
    for (int32_t r = 0; r < ry; ++r) rows_before += phase_y(r).taps;
    int32_t words = 0;
    for (int32_t r = 0; r < s_.stride_w; ++r) {
      const int32_t row = (phase_x(r).taps * s_.out_c + 1) / 2 * 2;
      words += row * (rows_before + (r < rx ? py.taps : 0));
    }
    return words;
  }

  const Conv2dShape& s_;
  const ErrorView& e_y_;
  const int8_t* w_;
  const int16_t* q_;
  int32_t shift_;
  int8_t* e_x_;
  BwdInputScratch layout_;
  bool all_weights_;
  int32_t pitch_;         // of error rows, in int16
  int32_t weight_words_;  // of one input channel
  int32_t capacity_;      // error rows held
  int32_t lead_h_;
  int32_t lead_w_;
  arm::SlidingRows rows_;
  uint32_t* weights_;
  uint32_t largest_ = 0;
};

// A fully connected layer: each weight is scaled when it is used.
uint32_t one_pixel(const Conv2dShape& s, const ErrorView& e_y, const int8_t* w, const int16_t* q,
                   int32_t shift, int16_t* errors, int8_t* e_x) {
  const int32_t length = s.kernel_h * s.kernel_w * s.in_c;
  for (int32_t o = 0; o < s.out_c; ++o) errors[o] = static_cast<int16_t>(error_value(e_y, o));
  arm::ErrorOutput output(shift);
  for (int32_t k = 0; k < length; ++k) {
    int32_t acc = 0;
    const int8_t* weight = w + k;
    for (int32_t o = 0; o < s.out_c; ++o, weight += length) {
      acc += errors[o] * scaled_weight(*weight, q[o]);
    }
    const uint32_t error = static_cast<uint32_t>(output(acc));
    e_x[k] = static_cast<int8_t>(arm::ErrorOutput::symmetric(error));
  }
  return output.largest();
}

}  // namespace

bool conv2d_s8_bwd_input_arm_dsp(const Conv2dShape& s, const ErrorView& e_y, const int8_t* w,
                                 const int16_t* q, int32_t shift, void* scratch, int8_t* e_x,
                                 uint32_t* largest) {
  if (s.pad_top >= s.kernel_h || s.pad_left >= s.kernel_w) return false;
  if (arm::window_is_input(s)) {
    *largest = one_pixel(s, e_y, w, q, shift, static_cast<int16_t*>(scratch), e_x);
    return true;
  }
  if (arm::winograd_bwd_input(s, e_y, w, q, shift, scratch, e_x, largest)) return true;
  InputGradient gradient(s, e_y, w, q, shift, scratch, e_x);
  if (!gradient.fits()) return false;
  *largest = s.out_c % 4 == 0 ? gradient.run<true>() : gradient.run<false>();
  return true;
}

}  // namespace tbft

#endif  // TBFT_KERNELS_ARM_DSP
