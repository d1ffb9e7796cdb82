// What the test programs of this folder share: a check that counts, and the verdict.
#pragma once

#include <cstdio>

inline int g_failures = 0;

#define CHECK(condition)                                             \
  do {                                                               \
    if (!(condition)) {                                              \
      printf("%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
      ++g_failures;                                                  \
    }                                                                \
  } while (false)

inline int verdict() {
  printf("%d failures\n", g_failures);
  return g_failures == 0 ? 0 : 1;
}
