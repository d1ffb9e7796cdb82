// Before a loop whose iterations do not depend on each other even when an output is the very same
// array as an input: lets the compiler vectorise it without a check for overlap, which in-place
// calls would fail.
#pragma once

#if defined(__clang__)
#define TBFT_INDEPENDENT_LOOP _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define TBFT_INDEPENDENT_LOOP _Pragma("GCC ivdep")
#else
#define TBFT_INDEPENDENT_LOOP
#endif
