// How deep the stack ever was, by painting it at the start and looking what is left of the paint.
#pragma once

#include <cstdint>

namespace tbft {

// Fills the stack below the caller with the paint; for the start code.
void paint_stack();
// Room for the stack, and the deepest use since the start, in bytes.
uint32_t stack_bytes();
uint32_t stack_used_bytes();

}  // namespace tbft
