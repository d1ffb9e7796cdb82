#include "kernels/pool.h"

#include "kernels/fixed_point.h"

namespace tbft {
namespace {

struct Range {
  int32_t begin, end;
};

// The windows (output positions) that hold an input position.
Range windows_of(int32_t position, int32_t kernel, int32_t stride, int32_t count) {
  const int32_t first = position < kernel ? 0 : (position - kernel) / stride + 1;
  const int32_t last = position / stride;
  return {first, last < count ? last + 1 : count};
}

// round(2^15 / n), halves up.
int32_t reciprocal_q15(int32_t n) { return ((1 << 15) + n / 2) / n; }

constexpr int32_t kBlock = 16;  // channels at a time; a fixed count lets compilers vectorise

// Calls visit(first element, count, sums) for blocks of channels of every input position, in memory
// order; contribute(oy, ox, iy, ix, first channel, count, sums) adds what one window gives them.
template <typename Contribute, typename Visit>
void for_each_input(const PoolShape& s, Contribute contribute, Visit visit) {
  for (int32_t iy = 0; iy < s.in_h; ++iy) {
    const Range rows = windows_of(iy, s.kernel_h, s.stride_h, s.out_h);
    for (int32_t ix = 0; ix < s.in_w; ++ix) {
      const Range columns = windows_of(ix, s.kernel_w, s.stride_w, s.out_w);
      for (int32_t c = 0; c < s.channels; c += kBlock) {
        const int32_t count = s.channels - c < kBlock ? s.channels - c : kBlock;
        int32_t sums[kBlock] = {};
        for (int32_t oy = rows.begin; oy < rows.end; ++oy) {
          for (int32_t ox = columns.begin; ox < columns.end; ++ox) {
            contribute(oy, ox, iy, ix, c, count, sums);
          }
        }
        visit((iy * s.in_w + ix) * s.channels + c, count, sums);
      }
    }
  }
}

int8_t stored(int32_t acc, int32_t shift, int8_t) { return to_error(acc, shift); }
int16_t stored(int32_t acc, int32_t shift, int16_t) { return to_wide_error(acc, shift); }

// Two passes, so that no sums need storing: the first finds the shift, the second writes. Returns
// the shift.
template <typename Error, typename Contribute>
int32_t normalise(const PoolShape& s, int32_t factor, Contribute contribute, Error* e_x) {
  constexpr int32_t kBits = 8 * static_cast<int32_t>(sizeof(Error)) - 1;
  int32_t largest = 0;
  for_each_input(s, contribute, [&](int32_t, int32_t, const int32_t* sums) {
    for (int32_t i = 0; i < kBlock; ++i) {
      const int32_t size = sums[i] < 0 ? -sums[i] : sums[i];
      largest = size > largest ? size : largest;
    }
  });
  const int32_t shift =
      needed_shift(static_cast<uint32_t>(largest) * static_cast<uint32_t>(factor), kBits);
  for_each_input(s, contribute, [&](int32_t first, int32_t count, const int32_t* sums) {
    for (int32_t i = 0; i < count; ++i) e_x[first + i] = stored(sums[i] * factor, shift, Error{0});
  });
  return shift;
}

template <typename Error>
int32_t average_any(const PoolShape& s, const Error* e_y, Error* e_x) {
  const int32_t count = s.kernel_h * s.kernel_w;
  const bool power_of_two = (count & (count - 1)) == 0;
  const int32_t factor = power_of_two ? 1 : reciprocal_q15(count);
  const int32_t lowered = power_of_two ? bitlen(static_cast<uint64_t>(count)) - 1 : 15;
  const auto contribute = [&](int32_t oy, int32_t ox, int32_t, int32_t, int32_t c, int32_t n,
                              int32_t* sums) {
    const Error* const e = e_y + (oy * s.out_w + ox) * s.channels + c;
    if (n == kBlock) {
      for (int32_t i = 0; i < kBlock; ++i) sums[i] += e[i];
    } else {
      for (int32_t i = 0; i < n; ++i) sums[i] += e[i];
    }
  };
  return normalise(s, factor, contribute, e_x) - lowered;
}

// True where x[iy, ix, c] is the first maximum of window (oy, ox).
bool is_first_maximum(const PoolShape& s, const int8_t* x, int32_t oy, int32_t ox, int32_t iy,
                      int32_t ix, int32_t c) {
  const int32_t own = x[(iy * s.in_w + ix) * s.channels + c];
  const int32_t top = oy * s.stride_h;
  const int32_t left = ox * s.stride_w;
  for (int32_t ky = top; ky < top + s.kernel_h; ++ky) {
    for (int32_t kx = left; kx < left + s.kernel_w; ++kx) {
      const int32_t other = x[(ky * s.in_w + kx) * s.channels + c];
      const bool earlier = ky < iy || (ky == iy && kx < ix);
      if (other > own || (other == own && earlier)) return false;
    }
  }
  return true;
}

// Looks every window up again for each of its elements: quadratic in the window, but it needs no
// memory for the positions.
template <typename Error>
int32_t max_any(const PoolShape& s, const Error* e_y, const int8_t* x, Error* e_x) {
  const auto contribute = [&](int32_t oy, int32_t ox, int32_t iy, int32_t ix, int32_t c, int32_t n,
                              int32_t* sums) {
    const Error* const e = e_y + (oy * s.out_w + ox) * s.channels + c;
    for (int32_t i = 0; i < n; ++i) {
      if (is_first_maximum(s, x, oy, ox, iy, ix, c + i)) sums[i] += e[i];
    }
  };
  return normalise(s, 1, contribute, e_x);
}

}  // namespace

void average_pool_s8_fwd(const PoolShape& s, const int8_t* x, int8_t* y) {
  const int32_t count = s.kernel_h * s.kernel_w;
  for (int32_t oy = 0; oy < s.out_h; ++oy) {
    for (int32_t ox = 0; ox < s.out_w; ++ox) {
      const int8_t* corner = x + (oy * s.stride_h * s.in_w + ox * s.stride_w) * s.channels;
      for (int32_t c = 0; c < s.channels; ++c) {
        int32_t acc = 0;
        for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
          for (int32_t kx = 0; kx < s.kernel_w; ++kx) {
            acc += corner[(ky * s.in_w + kx) * s.channels + c];
          }
        }
        y[(oy * s.out_w + ox) * s.channels + c] =
            static_cast<int8_t>(acc > 0 ? (acc + count / 2) / count : (acc - count / 2) / count);
      }
    }
  }
}

void max_pool_s8_fwd(const PoolShape& s, const int8_t* x, int8_t* y) {
  for (int32_t oy = 0; oy < s.out_h; ++oy) {
    for (int32_t ox = 0; ox < s.out_w; ++ox) {
      const int8_t* corner = x + (oy * s.stride_h * s.in_w + ox * s.stride_w) * s.channels;
      for (int32_t c = 0; c < s.channels; ++c) {
        int8_t best = -128;
        for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
          for (int32_t kx = 0; kx < s.kernel_w; ++kx) {
            const int8_t value = corner[(ky * s.in_w + kx) * s.channels + c];
            best = value > best ? value : best;
          }
        }
        y[(oy * s.out_w + ox) * s.channels + c] = best;
      }
    }
  }
}

int32_t average_pool_bwd(const PoolShape& s, const int8_t* e_y, int8_t* e_x) {
  return average_any(s, e_y, e_x);
}

int32_t average_pool_bwd(const PoolShape& s, const int16_t* e_y, int16_t* e_x) {
  return average_any(s, e_y, e_x);
}

int32_t max_pool_bwd(const PoolShape& s, const int8_t* e_y, const int8_t* x, int8_t* e_x) {
  return max_any(s, e_y, x, e_x);
}

int32_t max_pool_bwd(const PoolShape& s, const int16_t* e_y, const int8_t* x, int16_t* e_x) {
  return max_any(s, e_y, x, e_x);
}

}  // namespace tbft
