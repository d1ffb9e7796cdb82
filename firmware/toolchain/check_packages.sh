#!/bin/bash
# Says in one sentence which Debian packages the emulated boards lack: cross compilers, emulators, and what the Xtensa
# toolchain is made with. Programs and headers are looked for, not packages, so that any other way of installing them does.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../boards"

missing=()
lacks() { missing+=("$1"); }
has() { command -v "$1" >/dev/null 2>&1; }
has arm-none-eabi-g++ || lacks gcc-arm-none-eabi
[ -f /usr/include/newlib/c++/12.2.1/cstdint ] || lacks libstdc++-arm-none-eabi-newlib
has riscv64-unknown-elf-g++ || lacks gcc-riscv64-unknown-elf
{ has riscv64-unknown-elf-g++ && echo '#include <string.h>' | riscv64-unknown-elf-g++ --specs=picolibc.specs -march=rv32imc -mabi=ilp32 -x c++ -fsyntax-only - 2>/dev/null; } || lacks picolibc-riscv64-unknown-elf
has qemu-system-arm || lacks qemu-system-arm
{ has qemu-system-riscv32 && has qemu-system-xtensa; } || lacks qemu-system-misc
has meson || lacks meson
has ninja || lacks ninja-build
has xz || lacks xz-utils
if [ "${#missing[@]}" -gt 0 ]; then
  echo "error: the emulated boards lack ${missing[*]}; on Debian 12 install what they take with: sudo apt-get install --no-install-recommends $(tr '\n' ' ' <apt-packages.txt)" >&2
  exit 1
fi
