// Every kernel's fast form equals its plain form, bit for bit, on this CPU: a line per group, and a
// closing line. Runs on the emulated boards and, with the same source, as a program of this
// computer.
#include "bare.h"
#include "grid/grid.h"

int main() {
  tbft::grid::conv2d_forward();
  tbft::grid::conv2d_input_gradient();
  tbft::grid::conv2d_weight_gradient();
  tbft::grid::depthwise();
  tbft::grid::affine();
  tbft::grid::elementwise();
  tbft::grid::errors();
  tbft::grid::updates();
  const uint32_t wrong = tbft::grid::wrong_cases();
  tbft::bare::Line()
      .text("kernel_grid on ")
      .text(tbft::bare::board())
      .text(wrong == 0 ? ": all equal" : ": NOT equal");
  return wrong == 0 ? 0 : 1;
}
