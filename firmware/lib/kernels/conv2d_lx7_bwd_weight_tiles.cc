// Weight gradient on Xtensa for kernels three wide with stride 1, by the Toom-Cook (Winograd)
// algorithm: along a row, the three gradients that four errors e and six inputs d contribute to,
//
//     g[k] = sum over t of e[t] * d[t + k],   k = 0..2,
//
// take 6 multiplications instead of 12. The polynomials' products at the points 0, 1, -1, 2, -2 and
// infinity are m[j] = E[j] * D[j] with
//
//     E = (e0, e0+e1+e2+e3, e0-e1+e2-e3, e0+2e1+4e2+8e3, -e0+2e1-4e2+8e3, e3)
//     D = (4d0-5d2+d4, 4d1+4d2-d3-d4, 4d1-4d2-d3+d4, -2d1-d2+2d3+d4, -2d1+d2+2d3-d4, -4d1+5d3-d5)
//
// (signs chosen for the fewest instructions) and the gradients are
//
//     24 g0 = 6 m0 + 4 (m1 - m2) + m3 + m4
//     12 g1 =        2 (m1 + m2) + m3 - m4
//      6 g2 =           m1 - m2  + m3 + m4 - 6 m5.
//
// All of it is exact: |E| <= 15 * 2047 and |D| <= 10 * 255 are int16; sums of m over all tiles are
// kept modulo 2^32, where a division by 3 is a multiplication by its inverse, and the divisions by
// 8, 4 and 2 are right as long as |g| < 2^28 (rows are taken in portions for which it is).
// The last step is needed once a gradient, not once a tile.
#include "kernels/conv2d_lx7_bwd_weight.h"
#include "kernels/lx7_winograd.h"

#if TBFT_KERNELS_LX7

namespace tbft {
namespace lx7 {
namespace {

constexpr int32_t kSinkRows = 4;
constexpr int32_t kMostOutputs = 32;

// Errors and inputs lie as [output channel][point][row][tile] and [point][row][tile], so that a sum
// over all tiles of all rows is one dot product.
struct Layout {
  int32_t tiles;    // of a row, even: rows start at multiples of 4 bytes
  int32_t rows;     // of errors at a time
  int32_t outputs;  // channels at a time
  int32_t inputs;   // channels held in transformed form: one, or all for as long as it takes
  int32_t e_plane;  // elements of a point's errors, a multiple of 4; ends with zeros
  int32_t x_plane;  // of a point's inputs
};

inline int16_t* behind(int16_t* p, int32_t bytes) {
  return reinterpret_cast<int16_t*>(reinterpret_cast<char*>(p) + bytes);
}

int64_t layout_bytes(const Conv2dShape& s, const Layout& l) {
  const int64_t gradients = int64_t{4} * s.kernel_h * s.kernel_w * s.in_c;
  return l.outputs * (gradients + int64_t{2} * kPoints * l.e_plane) +
         int64_t{2} * kPoints * l.inputs * l.x_plane + kSlackBytes;
}

Layout layout_of(const Conv2dShape& s, int32_t rows, int32_t outputs, bool all_inputs) {
  const int32_t tiles = round_up((s.out_w + kTile - 1) / kTile, 2);
  return {tiles,
          rows,
          outputs,
          all_inputs ? s.in_c : 1,
          round_up(rows * tiles, 4),
          (rows + s.kernel_h - 1) * tiles};
}

// About as many instructions as it takes.
int64_t layout_cost(const Conv2dShape& s, const Layout& l) {
  const int64_t portions = (s.out_h + l.rows - 1) / l.rows;
  const int64_t groups = l.inputs > 1 ? 1 : (s.out_c + l.outputs - 1) / l.outputs;
  const int64_t transforms = groups * portions * (l.rows + s.kernel_h - 1) * (40 * l.tiles + 45);
  const int64_t sums = int64_t{s.out_c} * portions * (s.kernel_h * (6 * l.e_plane + 80) + 30);
  return s.in_c * (transforms + sums);
}

// The number of output channels and rows at a time that costs the fewest instructions: many
// channels share the transformed inputs, many rows make long dot products.
bool make_layout(const Conv2dShape& s, int32_t limit, Layout* layout) {
  const int64_t bytes = static_cast<int64_t>(conv2d_s8_bwd_weight_scratch_bytes(s));
  const int32_t exact_rows = ((1 << 28) - 1) / (limit * 255) / s.out_w;
  if (exact_rows == 0) return false;
  int64_t least = -1;
  const auto consider = [&](const Layout& candidate) {
    if (layout_bytes(s, candidate) > bytes) return false;
    const int64_t cost = layout_cost(s, candidate);
    if (least < 0 || cost < least) *layout = candidate;
    if (least < 0 || cost < least) least = cost;
    return true;
  };
  for (int32_t outputs = kSinkRows; outputs <= kMostOutputs; outputs += kSinkRows) {
    if (s.out_h <= exact_rows) consider(layout_of(s, s.out_h, outputs, true));
    int32_t portions = (s.out_h + exact_rows - 1) / exact_rows;
    while (portions <= s.out_h &&
           !consider(layout_of(s, (s.out_h + portions - 1) / portions, outputs, false))) {
      ++portions;
    }
    if (outputs >= s.out_c) break;
  }
  return least >= 0;
}

// Errors of channel o in rows first .. first + rows - 1; returns their sum.
template <typename Load>
inline __attribute__((always_inline)) int32_t transform_errors(const Conv2dShape& s,
                                                               const Layout& l, int32_t o,
                                                               int32_t first, int32_t rows,
                                                               int16_t* to, Load load) {
  const int32_t plane = 2 * l.e_plane;
  const int32_t step = s.out_c;
  int32_t sum = 0;
  for (int32_t r = first; r < first + rows; ++r) {
    int32_t at = r * s.out_w * step + o;
    int32_t left = s.out_w;
    for (int32_t t = l.tiles; t > 0; --t, left -= kTile, ++to) {
      int32_t e0 = 0;
      int32_t e1 = 0;
      int32_t e2 = 0;
      int32_t e3 = 0;
      if (left > 0) e0 = load(at);
      if (left > 1) e1 = load(at += step);
      if (left > 2) e2 = load(at += step);
      if (left > 3) e3 = load(at += step);
      at += step;
      const int32_t even = e0 + e2;
      const int32_t odd = e1 + e3;
      const int32_t even_4 = e0 + 4 * e2;
      const int32_t odd_4 = e1 + 4 * e3;
      int16_t* p = to;
      sum += even + odd;
      store_half(p, e0);
      store_half(p = behind(p, plane), even + odd);
      store_half(p = behind(p, plane), even - odd);
      store_half(p = behind(p, plane), 2 * odd_4 + even_4);
      store_half(p = behind(p, plane), 2 * odd_4 - even_4);
      store_half(behind(p, plane), e3);
    }
  }
  for (int32_t done = rows * l.tiles; done < l.e_plane; ++done, ++to) {
    for (int32_t j = 0; j < kPoints; ++j) to[j * l.e_plane] = 0;
  }
  return sum;
}

__attribute__((noinline)) int32_t transform_narrow(const Conv2dShape& s, const Layout& l,
                                                   const ErrorView& e_y, int32_t o, int32_t first,
                                                   int32_t rows, int16_t* to) {
  const int8_t* const e = e_y.s8;
  return transform_errors(s, l, o, first, rows, to, [e](int32_t at) { return int32_t{e[at]}; });
}

__attribute__((noinline)) int32_t transform_wide(const Conv2dShape& s, const Layout& l,
                                                 const ErrorView& e_y, int32_t o, int32_t first,
                                                 int32_t rows, int16_t* to) {
  const int16_t* const e = e_y.s16;
  const int32_t half = e_y.shift > 0 ? 1 << (e_y.shift - 1) : 0;
  const int32_t shift = e_y.shift;
  const int32_t limit = error_limit(e_y);
  return transform_errors(s, l, o, first, rows, to, [=](int32_t at) {
    return clamp((e[at] + half) >> shift, -limit, limit);
  });
}

// Input rows first .. of channel 0 of x; those outside the input, the same for all channels, are
// filled only for the first of them.
void transform_inputs(const Conv2dShape& s, const Layout& l, const InputRows& in, const int8_t* x,
                      int32_t first, int32_t rows, bool fill, int16_t* to) {
  const int32_t above = clamp(-first, 0, rows);
  const int32_t below = clamp(first + rows - s.in_h, 0, rows - above);
  const int32_t inside = rows - above - below;
  if (fill) {
    for (int32_t j = 0; j < kPoints; ++j) {
      fill_zero(above * l.tiles, to + j * l.x_plane);
      fill_zero(below * l.tiles, to + j * l.x_plane + (above + inside) * l.tiles);
    }
  }
  transform_rows(in, x + (first + above) * in.row_step, inside, to + above * l.tiles);
}

// clang-format off
#define TBFT_LX7_POINT(product, label) \
  "wsr.acclo %[m5]\n\t"                \
  "ldinc m0, %[tx]\n\t"                \
  "ldinc m1, %[tx]\n\t"                \
  TBFT_LX7_QUADS(label)                \
  "rsr.acclo %[" product "]\n\t"
// clang-format on

// clang-format off
// m[0..5], the dot products of the parts' planes (the errors' follow each other, so that reading
// ahead has loaded the next one's first elements already), and from them in m0, m1 and m2
//     24 g0 = 6 m0 + 4 (m1 - m2) + m3 + m4,
//     12 g1 = 2 (m1 + m2) + m3 - m4  and
//     -6 g2 = 6 m5 - (m1 - m2 + m3 + m4),
// which `stores` adds to the gradients. m5 is 0 until its sum is in it.
#define TBFT_LX7_SET(m) "s32i %[" m "], %[g], 0\n\tadd %[g], %[g], %[step]\n\t"
#define TBFT_LX7_ADD(op, m) \
  "l32i %[tx], %[g], 0\n\t" op " %[tx], %[tx], %[" m "]\n\t" \
  "s32i %[tx], %[g], 0\n\tadd %[g], %[g], %[step]\n\t"
#define TBFT_LX7_ADD_GRADIENTS(stores) \
  asm volatile( \
      "movi %[m5], 0\n\t" \
      "ldinc m2, %[tw]\n\t" \
      TBFT_LX7_POINT("m0", "0") "add %[tx], %[tx], %[jump]\n\t" \
      TBFT_LX7_POINT("m1", "1") "add %[tx], %[tx], %[jump]\n\t" \
      TBFT_LX7_POINT("m2", "2") "add %[tx], %[tx], %[jump]\n\t" \
      TBFT_LX7_POINT("m3", "3") "add %[tx], %[tx], %[jump]\n\t" \
      TBFT_LX7_POINT("m4", "4") "add %[tx], %[tx], %[jump]\n\t" \
      TBFT_LX7_POINT("m5", "5") \
      "sub %[tx], %[m1], %[m2]\n\t" \
      "add %[m1], %[m1], %[m2]\n\t" \
      "add %[m2], %[m3], %[m4]\n\t" \
      "sub %[m3], %[m3], %[m4]\n\t" \
      "addx4 %[m4], %[tx], %[m2]\n\t" \
      "addx2 %[m0], %[m0], %[m0]\n\t" \
      "addx2 %[m0], %[m0], %[m4]\n\t" \
      "addx2 %[m1], %[m1], %[m3]\n\t" \
      "add %[m2], %[m2], %[tx]\n\t" \
      "addx2 %[m5], %[m5], %[m5]\n\t" \
      "subx2 %[m2], %[m5], %[m2]\n\t" \
      "mull %[m0], %[m0], %[third]\n\t" \
      "mull %[m1], %[m1], %[third]\n\t" \
      "mull %[m2], %[m2], %[third]\n\t" \
      "srai %[m0], %[m0], 3\n\t" \
      "srai %[m1], %[m1], 2\n\t" \
      "srai %[m2], %[m2], 1\n\t" \
      stores \
      : [tx] "+r"(tx), [tw] "+r"(tw), [g] "+r"(g), [m0] "=&r"(g0), [m1] "=&r"(g1), [m2] "=&r"(g2), \
        [m3] "=&r"(m3), [m4] "=&r"(m4), [m5] "=&r"(m5) \
      : [jump] "r"(sums.jump), [quads] "r"(sums.quads), [third] "r"(kInverseOf3), \
        [step] "r"(4 * sums.g_step) \
      : "memory")
// clang-format on

// What the sums of one output channel and one input channel need.
struct PointSums {
  int32_t quads;
  int32_t jump;  // bytes from the last input that a dot product loads to the next plane
  int32_t kernel_h;
  int32_t x_row;   // elements from a kernel row's inputs to the next one's
  int32_t g_step;  // elements between the three gradients of a kernel row
};

// Adds the products of all tiles to the gradients of all kernel rows, or sets these.
template <bool kFirst>
__attribute__((noinline)) void add_gradients(const PointSums& sums, const int16_t* x,
                                             const int16_t* e, int32_t* g) {
  x -= 2;  // ldinc adds before it loads
  e -= 2;
  for (int32_t ky = sums.kernel_h; ky > 0; --ky, x += sums.x_row) {
    const int16_t* tx = x;
    const int16_t* tw = e;
    int32_t g0;
    int32_t g1;
    int32_t g2;
    int32_t m3;
    int32_t m4;
    int32_t m5;  // 0 until the last sum is in it
    if (kFirst) {
      TBFT_LX7_ADD_GRADIENTS(TBFT_LX7_SET("m0")
                                 TBFT_LX7_SET("m1") "neg %[m2], %[m2]\n\t" TBFT_LX7_SET("m2"));
    } else {
      TBFT_LX7_ADD_GRADIENTS(TBFT_LX7_ADD("add", "m0") TBFT_LX7_ADD("add", "m1")
                                 TBFT_LX7_ADD("sub", "m2"));
    }
  }
}

}  // namespace

bool bwd_weight_tiles(const Conv2dShape& s, const ErrorView& e_y, const int8_t* x,
                      int32_t x_zero_point, void* scratch, GradientSink sink, void* context) {
  if (s.kernel_w != kTaps || s.stride_w != 1 || s.stride_h != 1) return false;
  if (s.pad_left > 2 || s.in_w < 2) return false;
  Layout l;
  if (!make_layout(s, error_limit(e_y), &l)) return false;
  const InputRows in =
      input_rows(s.in_w, s.in_c, s.pad_left, x_zero_point, l.tiles, l.x_plane, 1, l.tiles);
  const PointSums sums = {l.e_plane / 4, 2 * l.x_plane - 2 * l.e_plane - 8, s.kernel_h, l.tiles,
                          s.in_c};
  const int32_t length = s.kernel_h * s.kernel_w * s.in_c;
  int32_t* const g = static_cast<int32_t*>(scratch);
  int16_t* const errors = reinterpret_cast<int16_t*>(g + l.outputs * length);
  int16_t* const inputs = errors + l.outputs * kPoints * l.e_plane;
  const int32_t all_inputs = l.inputs > 1 ? kPoints * l.x_plane : 0;  // between two channels'
  for (int32_t i = 0; i < s.in_c && all_inputs != 0; ++i) {
    transform_inputs(s, l, in, x + i, -s.pad_top, s.out_h + s.kernel_h - 1, true,
                     inputs + i * all_inputs);
  }
  for (int32_t first = 0; first < s.out_c; first += l.outputs) {
    const int32_t count = s.out_c - first < l.outputs ? s.out_c - first : l.outputs;
    int32_t bias[kMostOutputs] = {};
    for (int32_t oy = 0; oy < s.out_h; oy += l.rows) {
      const int32_t rows = s.out_h - oy < l.rows ? s.out_h - oy : l.rows;
      for (int32_t o = 0; o < count; ++o) {
        const auto transform = e_y.s8 != nullptr ? transform_narrow : transform_wide;
        bias[o] += transform(s, l, e_y, first + o, oy, rows, errors + o * kPoints * l.e_plane);
      }
      for (int32_t i = 0; i < s.in_c; ++i) {
        if (all_inputs == 0) {
          transform_inputs(s, l, in, x + i, oy - s.pad_top, rows + s.kernel_h - 1, i == 0, inputs);
        }
        const int16_t* const d = inputs + i * all_inputs;
        const int16_t* e = errors;
        int32_t* to = g + i;
        for (int32_t o = 0; o < count; ++o, e += kPoints * l.e_plane, to += length) {
          if (oy == 0) {
            add_gradients<true>(sums, d, e, to);
          } else {
            add_gradients<false>(sums, d, e, to);
          }
        }
      }
    }
    for (int32_t o = 0; o < count; o += kSinkRows) {
      GradientRows rows = {first + o, count - o < kSinkRows ? count - o : kSinkRows, {}, {}};
      for (int32_t r = 0; r < rows.count; ++r) {
        rows.g[r] = g + (o + r) * length;
        rows.bias[r] = bias[o + r];
      }
      sink(context, rows);
    }
  }
  return true;
}

}  // namespace lx7
}  // namespace tbft

#endif  // TBFT_KERNELS_LX7
