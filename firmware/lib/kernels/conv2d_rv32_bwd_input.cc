// Input gradient on RV32IMC: the same convolution as forward with the kernel turned round, the
// errors in the place of the inputs and the scaled weights in that of the weights.
#include "kernels/dispatch.h"

#if TBFT_KERNELS_RV32

#include "kernels/direct_rv32.h"
#include "kernels/error_read.h"
#include "kernels/scaled_weight.h"
#include "kernels/winograd_rv32.h"

namespace tbft {
namespace {

using rv32::kTile;

// Writes errors of the input and watches their range.
class Writer {
 public:
  Writer(const Conv2dShape& s, int32_t shift, int8_t* e_x) : s_(s), right_(shift + 1), e_x_(e_x) {}

  // A pair of tiles' sums: point p of tile t and channel i at sums[16 * p + 4 * t + i]. What is
  // watched is copied: the stores of int8 could change members, for all the compiler knows.
  void write_tiles(int32_t first, int32_t row, int32_t tile, const int32_t* sums) {
    const int32_t count = s_.in_c - first < 4 ? s_.in_c - first : 4;
    const int32_t step = s_.in_c;
    const int32_t right = right_;
    int32_t highest = highest_;
    int32_t lowest = lowest_;
    // rshift_round(acc, n) = (2 acc / 2^n rounded down + 1) / 2, n = 0 included.
    const auto stored = [&](int32_t four_acc) {
      highest = four_acc > highest ? four_acc : highest;
      lowest = four_acc < lowest ? four_acc : lowest;
      return static_cast<int8_t>(clamp(((four_acc >> right) + 1) >> 1, -127, 127));
    };
    for (int32_t t = 0; t < 2; ++t) {
      const int32_t x = kTile * (tile + t);
      const int32_t pixels = s_.in_w - x < kTile ? s_.in_w - x : kTile;
      int8_t* const to = e_x_ + (row * s_.in_w + x) * step + first;
      for (int32_t i = 0; i < count && pixels > 0; ++i) {
        int32_t acc[kTile];
        rv32::outputs_times_four<16>(sums + 4 * t + i, acc);
        int8_t* out = to + i;
        if (pixels >= kTile) {
          for (int32_t j = 0; j < kTile; ++j, out += step) *out = stored(acc[j]);
        } else {
          for (int32_t j = 0; j < pixels; ++j, out += step) *out = stored(acc[j]);
        }
      }
    }
    highest_ = highest;
    lowest_ = lowest;
  }

  uint32_t largest() const {
    const uint32_t highest = magnitude(highest_);
    const uint32_t lowest = magnitude(lowest_);
    return (highest > lowest ? highest : lowest) >> 2;
  }

 private:
  const Conv2dShape& s_;
  const int32_t right_;
  int8_t* const e_x_;
  int32_t highest_ = 0;
  int32_t lowest_ = 0;
};

template <typename Errors>
void transform_errors(const Conv2dShape& s, const Errors& errors,
                      const typename Errors::Element* row, const rv32::Winograd& form,
                      int16_t* to) {
  using Element = typename Errors::Element;
  const int32_t channels = s.out_c;
  Element* const outside = reinterpret_cast<Element*>(form.free_room());
  for (int32_t o = 0; o < channels; ++o) outside[o] = 0;
  rv32::for_each_tile(row, s.out_w, channels, 2 - s.pad_left, outside, form.tiles(),
                      [&](int32_t t, const Element* const* d) {
                        int16_t* out = to + (t >> 1) * form.pair() + (t & 1);
                        const Element* d0 = d[0];
                        const Element* d1 = d[1];
                        const Element* d2 = d[2];
                        const Element* d3 = d[3];
                        const Element* d4 = d[4];
                        const Element* d5 = d[5];
                        for (int32_t o = 0; o < channels; ++o, out += 2 * rv32::kPoints) {
                          rv32::transform_inputs<2>(errors(d0[o]), errors(d1[o]), errors(d2[o]),
                                                    errors(d3[o]), errors(d4[o]), errors(d5[o]), 0,
                                                    out);
                        }
                      });
}

// The parts of four input channels' weights, both axes turned round: kernel row ky of the
// convolution over errors is row 2 - ky of the kernel.
void transform_kernel(const Conv2dShape& s, const int8_t* w, const int16_t* q, int32_t first,
                      int32_t ky, int32_t count, int16_t* to) {
  const int32_t channels = s.in_c - first < 4 ? s.in_c - first : 4;
  const int32_t tap = s.in_c;
  for (int32_t k = ky; k < ky + count; ++k) {
    const int8_t* from = w + (2 - k) * 3 * tap + first;
    for (int32_t o = 0; o < s.out_c; ++o, from += 9 * tap, to += 4 * rv32::kPoints) {
      const int32_t factor = q[o];
      const auto part = [&](int32_t i) {
        rv32::transform_weights<4>(scaled_weight(from[2 * tap + i], factor),
                                   scaled_weight(from[tap + i], factor),
                                   scaled_weight(from[i], factor), to + i);
      };
      if (channels == 4) {
        for (int32_t i = 0; i < 4; ++i) part(i);
      } else {
        for (int32_t i = 0; i < channels; ++i) part(i);
        for (int32_t i = channels; i < 4; ++i) {
          for (int32_t p = 0; p < rv32::kPoints; ++p) to[4 * p + i] = 0;
        }
      }
    }
  }
}

bool bwd_input_winograd(const Conv2dShape& s, const ErrorView& e_y, const int8_t* w,
                        const int16_t* q, int32_t shift, void* scratch, int8_t* e_x,
                        uint32_t* largest) {
  constexpr int32_t kLargestProduct = 127 * 2048;
  if (s.kernel_h != 3 || s.kernel_w != 3 || s.stride_h != 1 || s.stride_w != 1 ||
      int64_t{9} * s.out_c * kLargestProduct >= rv32::kWinogradLimit) {
    return false;
  }
  rv32::Winograd form;
  if (!form.init({s.out_h, s.in_h, s.in_w, s.out_c, s.in_c, 2 - s.pad_top}, scratch,
                 conv2d_s8_bwd_input_scratch_bytes(s))) {
    return false;
  }
  Writer writer(s, shift, e_x);
  const auto input = [&](int32_t oy, int16_t* to) {
    const int32_t first = oy * s.out_w * s.out_c;
    if (e_y.s8 != nullptr) {
      transform_errors(s, NarrowErrors{}, e_y.s8 + first, form, to);
    } else {
      transform_errors(s, WideErrors(e_y), e_y.s16 + first, form, to);
    }
  };
  const auto weights = [&](int32_t first, int32_t ky, int32_t count, int16_t* to) {
    transform_kernel(s, w, q, first, ky, count, to);
  };
  form.run(input, weights, [&](int32_t first, int32_t row, int32_t tile, const int32_t* sums) {
    writer.write_tiles(first, row, tile, sums);
  });
  *largest = writer.largest();
  return true;
}

// Input positions of one axis that share a remainder of (position + pad) by the stride meet the
// same kernel taps, the last of them with the errors at the lowest place.
struct Phase {
  int32_t first_position;  // input positions first_position, first_position + stride, ...
  int32_t positions;
  int32_t taps;         // how many there are, perhaps 0
  int32_t last_tap;     // then last_tap - stride, ... for ascending errors
  int32_t first_error;  // that the first position meets with the last tap; may be outside
};

Phase phase_of(int32_t remainder, int32_t in, int32_t kernel, int32_t stride, int32_t pad) {
  const int32_t offset = (remainder - pad) % stride;
  Phase phase = {};
  phase.first_position = offset < 0 ? offset + stride : offset;
  phase.positions = phase.first_position < in ? (in - 1 - phase.first_position) / stride + 1 : 0;
  phase.taps = remainder < kernel ? (kernel - 1 - remainder) / stride + 1 : 0;
  phase.last_tap = remainder + (phase.taps - 1) * stride;
  // Whole: position + pad has the remainder that all the taps have.
  phase.first_error = (phase.first_position + pad - phase.last_tap) / stride;
  return phase;
}

// Writes sums of one phase.
class DirectWriter {
 public:
  DirectWriter(const Conv2dShape& s, int32_t shift, int8_t* e_x)
      : s_(s), shift_(shift), e_x_(e_x) {}

  void write(const Phase& py, const Phase& px, int32_t first, int32_t row, int32_t x, int32_t count,
             const int32_t* sums) {
    const int32_t channels = s_.in_c - first < 4 ? s_.in_c - first : 4;
    const int32_t iy = py.first_position + row * s_.stride_h;
    int8_t* to = e_x_ + (iy * s_.in_w + px.first_position + x * s_.stride_w) * s_.in_c + first;
    const int32_t step = s_.stride_w * s_.in_c;
    const int32_t shift = shift_;
    int32_t highest = highest_;
    int32_t lowest = lowest_;
    for (int32_t j = 0; j < count; ++j, to += step) {
      for (int32_t i = 0; i < channels; ++i) {
        const int32_t acc = sums[4 * j + i];
        highest = acc > highest ? acc : highest;
        lowest = acc < lowest ? acc : lowest;
        to[i] = to_error(acc, shift);
      }
    }
    highest_ = highest;
    lowest_ = lowest;
  }

  void write_zeros(const Phase& py, const Phase& px) {
    for (int32_t row = 0; row < py.positions; ++row) {
      const int32_t iy = py.first_position + row * s_.stride_h;
      int8_t* to = e_x_ + (iy * s_.in_w + px.first_position) * s_.in_c;
      for (int32_t x = 0; x < px.positions; ++x, to += s_.stride_w * s_.in_c) {
        for (int32_t i = 0; i < s_.in_c; ++i) to[i] = 0;
      }
    }
  }

  uint32_t largest() const {
    const uint32_t highest = magnitude(highest_);
    const uint32_t lowest = magnitude(lowest_);
    return highest > lowest ? highest : lowest;
  }

 private:
  const Conv2dShape& s_;
  const int32_t shift_;
  int8_t* const e_x_;
  int32_t highest_ = 0;
  int32_t lowest_ = 0;
};

// The scaled weights of four input channels for a phase's taps, as Direct wants them.
void scale_kernel(const Conv2dShape& s, const int8_t* w, const int16_t* q, const Phase& py,
                  const Phase& px, int32_t first, int16_t* to) {
  const int32_t channels = s.in_c - first < 4 ? s.in_c - first : 4;
  const int32_t row_length = s.kernel_h * s.kernel_w * s.in_c;
  for (int32_t ty = 0; ty < py.taps; ++ty) {
    for (int32_t tx = 0; tx < px.taps; ++tx) {
      const int32_t ky = py.last_tap - ty * s.stride_h;
      const int32_t kx = px.last_tap - tx * s.stride_w;
      const int8_t* from = w + (ky * s.kernel_w + kx) * s.in_c + first;
      for (int32_t o = 0; o < s.out_c; ++o, from += row_length, to += 4) {
        const int32_t factor = q[o];
        if (channels == 4) {
          for (int32_t i = 0; i < 4; ++i) {
            to[i] = static_cast<int16_t>(scaled_weight(from[i], factor));
          }
        } else {
          for (int32_t i = 0; i < 4; ++i) {
            to[i] =
                i < channels ? static_cast<int16_t>(scaled_weight(from[i], factor)) : int16_t{0};
          }
        }
      }
    }
  }
}

template <typename Errors>
bool phase_direct(const Conv2dShape& s, const Errors& errors, const typename Errors::Element* e_y,
                  const int8_t* w, const int16_t* q, const Phase& py, const Phase& px,
                  void* scratch, DirectWriter& writer) {
  rv32::Direct form;
  if (!form.init({s.out_h, py.positions, px.positions, py.taps, px.taps, 1, py.first_error, s.out_c,
                  s.in_c},
                 scratch, conv2d_s8_bwd_input_scratch_bytes(s))) {
    return false;
  }
  const auto input = [&](int32_t oy, int16_t* to) {
    rv32::pack_direct_row(e_y + oy * s.out_w * s.out_c, s.out_w, s.out_c, px.first_error, 1,
                          px.taps, px.positions, errors, to);
  };
  const auto weights = [&](int32_t first, int16_t* to) {
    scale_kernel(s, w, q, py, px, first, to);
  };
  form.run(input, weights,
           [&](int32_t first, int32_t row, int32_t x, int32_t count, const int32_t* sums) {
             writer.write(py, px, first, row, x, count, sums);
           });
  return true;
}

// Each phase of a stride is a convolution of stride 1.
template <typename Errors>
bool bwd_input_direct(const Conv2dShape& s, const Errors& errors,
                      const typename Errors::Element* e_y, const int8_t* w, const int16_t* q,
                      int32_t shift, void* scratch, int8_t* e_x, uint32_t* largest) {
  DirectWriter writer(s, shift, e_x);
  for (int32_t ry = 0; ry < s.stride_h; ++ry) {
    const Phase py = phase_of(ry, s.in_h, s.kernel_h, s.stride_h, s.pad_top);
    for (int32_t rx = 0; rx < s.stride_w; ++rx) {
      const Phase px = phase_of(rx, s.in_w, s.kernel_w, s.stride_w, s.pad_left);
      if (py.positions == 0 || px.positions == 0) continue;
      if (py.taps == 0 || px.taps == 0) {
        writer.write_zeros(py, px);
      } else if (!phase_direct(s, errors, e_y, w, q, py, px, scratch, writer)) {
        return false;
      }
    }
  }
  *largest = writer.largest();
  return true;
}

}  // namespace

bool conv2d_s8_bwd_input_rv32(const Conv2dShape& s, const ErrorView& e_y, const int8_t* w,
                              const int16_t* q, int32_t shift, void* scratch, int8_t* e_x,
                              uint32_t* largest) {
  if (bwd_input_winograd(s, e_y, w, q, shift, scratch, e_x, largest)) return true;
  if (e_y.s8 != nullptr) {
    return bwd_input_direct(s, NarrowErrors{}, e_y.s8, w, q, shift, scratch, e_x, largest);
  }
  return bwd_input_direct(s, WideErrors(e_y), e_y.s16, w, q, shift, scratch, e_x, largest);
}

}  // namespace tbft

#endif
