/* Settings of the compiler beyond QEMU's description of core de233_fpu (core-isa.h). */
#include "core-isa.h"

/* Windowed calls, as on ESP32 and ESP32-S3. */
#define XTHAL_ABI_WINDOWED 0
#define XTHAL_ABI_CALL0 1
#define XSHAL_ABI XTHAL_ABI_WINDOWED
#define XSHAL_USE_ABSOLUTE_LITERALS 0
#define XSHAL_HAVE_TEXT_SECTION_LITERALS 1

/* What core-isa.h leaves out and GCC asks for. */
#define XCHAL_HAVE_FP_POSTINC 1
#define XCHAL_HAVE_MMU 1
#define XCHAL_M_STAGE 3
#define XTENSA_MARCH_LATEST 281030
#define XTENSA_MARCH_EARLIEST 281030

/* Single precision only: those chips have no more. */
#undef XCHAL_HAVE_DFP
#undef XCHAL_HAVE_DFP_DIV
#undef XCHAL_HAVE_DFP_RECIP
#undef XCHAL_HAVE_DFP_SQRT
#undef XCHAL_HAVE_DFP_RSQRT
