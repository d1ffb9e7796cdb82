// How the weight gradient uses its scratch.
#pragma once

#include "kernels/arm_dsp.h"

#if TBFT_KERNELS_ARM_DSP

#include "kernels/conv_shape.h"

namespace tbft {
namespace arm {

// Four rows of gradients; the errors of a strip of rows, [2 pairs of output channels][point][row]
// [word][2]; inputs, of four or of all channels, [pair of channels][plane][line][word][2].
// Winograd: six points, six planes (their factors). Otherwise one point, and a plane for each
// column of the kernel, or for as many as fit. Lines are padded input rows, those of one remainder
// by the stride together, so that the lines of a kernel row follow each other.
struct GradientLayout {
  static constexpr int32_t kTile = 4;   // errors of a tile
  static constexpr int32_t kQuad = 4;   // channels laid out at a time
  static constexpr int32_t kLine = 68;  // columns widened at a time

  int32_t g_pitch;  // int32
  int32_t words;    // of a row and channel
  int32_t points;
  int32_t planes;
  int32_t rows;     // of errors in a strip
  int32_t lines;    // of inputs in a strip
  int32_t chunk;    // products of a step of the inner loop
  bool all_inputs;  // the inputs of the whole image are laid out once

  int32_t row_words() const { return 2 * words; }
  int32_t error_pair_words() const { return points * rows * row_words(); }
  int32_t plane_words() const { return lines * row_words(); }
  int32_t input_pair_words() const { return planes * plane_words(); }

  // Line of a padded input row of the strip.
  int32_t line_of(const Conv2dShape& s, int32_t row) const;
};

// False where Winograd's method does not apply. largest_error: magnitude.
bool lay_out_winograd(const Conv2dShape& shape, int32_t largest_error, GradientLayout* layout);
// False when the scratch does not hold a single row.
bool lay_out_direct(const Conv2dShape& shape, GradientLayout* layout);

}  // namespace arm
}  // namespace tbft

#endif  // TBFT_KERNELS_ARM_DSP
