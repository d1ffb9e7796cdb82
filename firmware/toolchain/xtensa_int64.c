/* The 64-bit integer helpers that GCC calls on Xtensa and libgcc's assembly does not have. Compiled without builtins, so
   that none of them ends up calling itself. */
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

/* Number of leading and trailing zero bits; x is not 0. */
int __clzdi2(u64 x) {
  const u32 high = (u32)(x >> 32);
  return high != 0 ? __builtin_clz(high) : 32 + __builtin_clz((u32)x);
}

int __ctzdi2(u64 x) {
  const u32 low = (u32)x;
  return low != 0 ? __builtin_ctz(low) : 32 + __builtin_ctz((u32)(x >> 32));
}

int __popcountsi2(u32 x) {
  int bits = 0;
  for (; x != 0; x &= x - 1) ++bits;
  return bits;
}

int __popcountdi2(u64 x) { return __popcountsi2((u32)x) + __popcountsi2((u32)(x >> 32)); }

/* Low 64 bits of the product. The core has 32 x 32 -> 32 bits and no high half, so the low words' product is put
   together from 16-bit halves; none of the partial sums exceeds 32 bits. */
u64 __muldi3(u64 a, u64 b) {
  const u32 a_low = (u32)a;
  const u32 b_low = (u32)b;
  const u32 a0 = a_low & 0xffffU;
  const u32 a1 = a_low >> 16;
  const u32 b0 = b_low & 0xffffU;
  const u32 b1 = b_low >> 16;
  const u32 low = a0 * b0;
  const u32 middle = a1 * b0 + (low >> 16);
  const u32 middle2 = a0 * b1 + (middle & 0xffffU);
  const u32 high = a1 * b1 + (middle >> 16) + (middle2 >> 16) + a_low * (u32)(b >> 32) + (u32)(a >> 32) * b_low;
  return ((u64)high << 32) | (middle2 << 16) | (low & 0xffffU);
}

/* Quotient and remainder by shifting and subtracting; d is not 0. */
u64 __udivmoddi4(u64 n, u64 d, u64* remainder) {
  u64 quotient = 0;
  if ((n >> 32) == 0 && (d >> 32) == 0) {
    quotient = (u32)n / (u32)d;
    n = (u32)n % (u32)d;
  } else if (n >= d) {
    int shift = __clzdi2(d) - __clzdi2(n);
    d <<= shift;
    for (; shift >= 0; --shift) {
      quotient <<= 1;
      if (n >= d) {
        n -= d;
        quotient |= 1;
      }
      d >>= 1;
    }
  }
  if (remainder != 0) *remainder = n;
  return quotient;
}

u64 __udivdi3(u64 n, u64 d) { return __udivmoddi4(n, d, 0); }

u64 __umoddi3(u64 n, u64 d) {
  u64 remainder;
  __udivmoddi4(n, d, &remainder);
  return remainder;
}

static u64 magnitude(i64 x) { return x < 0 ? 0 - (u64)x : (u64)x; }

i64 __divdi3(i64 n, i64 d) {
  const u64 quotient = __udivmoddi4(magnitude(n), magnitude(d), 0);
  return (i64)((n < 0) != (d < 0) ? 0 - quotient : quotient);
}

i64 __moddi3(i64 n, i64 d) {
  u64 remainder;
  __udivmoddi4(magnitude(n), magnitude(d), &remainder);
  return (i64)(n < 0 ? 0 - remainder : remainder);
}
