/* The plugin that GCC and binutils load through XTENSA_GNU_CONFIG: the core's numbers as a structure, and as the
   preprocessor's definitions. The instruction tables are linked beside it (xtensa-modules.c of QEMU). */
#include <stdlib.h>

#define XTENSA_CONFIG_DEFINITION
#include "xtensa-config.h"

#include "xtensa-dynconfig.h"

#undef XTENSA_CONFIG_ENTRY
#define XTENSA_CONFIG_ENTRY(name) name
XTENSA_CONFIG_INSTANCE_LIST;
#undef XTENSA_CONFIG_ENTRY

#define QUOTED_AS_IT_IS(text) #text
#define QUOTED(text) QUOTED_AS_IT_IS(text)
#define XTENSA_CONFIG_ENTRY(name) "__" #name "=" QUOTED(name)
const char* const xtensa_config_strings[] = {XTENSA_CONFIG_ENTRY_LIST, NULL};

int plugin_is_GPL_compatible;
