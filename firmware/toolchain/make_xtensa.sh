#!/bin/bash
# Makes a C++17 compiler for the Xtensa LX7 class (windowed calls, MAC16, zero-overhead loops, single-precision FPU), which no
# Debian package has, out of packages that Debian does have:
#
#   - trixie's compiler for another Xtensa core (lx106), GCC 13 and binutils 2.44, which take the description of a core as a plugin;
#   - the description of core de233_fpu from QEMU's source, the core that `qemu-system-xtensa -cpu de233_fpu` runs;
#   - the sources of libgcc's Xtensa assembly (GCC) and of picolibc, compiled here for that core;
#   - the C++ headers of trixie's RISC-V compiler, of the same release as that GCC will take.
#
#   usage: make_xtensa.sh FOLDER      (FOLDER/xtensa and FOLDER/qemu are made)
#
# Nothing outside FOLDER changes and no root is needed: apt works on lists and a cache of its own. The result is put in place
# by one rename, when whole; it is made anew only when this folder's files change. Programs of trixie run through trixie's
# own loader and libraries, beside them; no path is written into them, so FOLDER may be moved.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -eq 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)

exec 9>"$folder/.lock"
flock 9
recipe=$(cat "$here/make_xtensa.sh" "$here/xtensa_config.h" "$here/xtensa_plugin.c" "$here/xtensa_int64.c" | sha256sum | cut -d' ' -f1)
if [ "$(cat "$folder/xtensa/.recipe" 2>/dev/null)" = "$recipe" ] && [ -f "$folder/qemu/qemu-plugin.h" ]; then
  exit 0
fi

fail() { echo "error: $*" >&2; exit 1; }
step() { echo "Xtensa toolchain: $*"; }
for tool in apt-get dpkg-deb meson ninja gcc xz; do
  command -v "$tool" >/dev/null || fail "$tool, which making the Xtensa toolchain takes, was not found; on Debian 12 install it with: sudo apt-get install $(tr '\n' ' ' <"$here/../boards/apt-packages.txt")"
done

rm -rf "$folder"/.making.*  # of a run that was interrupted: nobody else is here, the lock is ours
making=$(mktemp -d "$folder/.making.XXXXXX")
trap 'rm -rf "$making"' EXIT
work=$making/work
top=$making/xtensa
mkdir -p "$work"/{apt/lists/partial,apt/cache/archives/partial,apt/empty,debs,sources,config,libgcc} "$top"/{bin,lib,root}

# ---- packages and sources, by an apt that knows trixie beside this system's release -------------------------------------
# The site that this system gets Debian's main section from; only the configuration says it where `apt-get update` never ran.
site() { apt-get indextargets "$@" --format '$(COMPONENT) $(SITE)' 'Created-By: Packages' 2>/dev/null | awk '$1 == "main" {print $2}' | grep -v security | head -n 1 || true; }
mirror=$(site)
[ -n "$mirror" ] || mirror=$(site --no-release-info)
[ -n "$mirror" ] || fail "apt has no source with Debian's section main, expected one in /etc/apt/sources.list.d; add it, run apt-get update and repeat"

signed='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
cat >"$work/apt/sources.list" <<X
deb $signed $mirror trixie main
deb-src $signed $mirror trixie main
deb-src $signed $mirror bookworm main
X
touch "$work/apt/status"
# The system's own settings (proxies, certificates) stay in force.
cat >"$work/apt/apt.conf" <<X
Dir::Etc::SourceList "$work/apt/sources.list";
Dir::Etc::SourceParts "$work/apt/empty";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "$work/apt/empty";
Dir::State "$work/apt";
Dir::State::Lists "$work/apt/lists";
Dir::State::status "$work/apt/status";
Dir::Cache "$work/apt/cache";
Acquire::Languages "none";
Acquire::Retries "3";
APT::Sandbox::User "root";
X
export APT_CONFIG=$work/apt/apt.conf
step "reading the package lists"
apt-get update -qq 2>"$work/apt.log" || fail "the package lists of Debian trixie could not be fetched ($(tail -n 1 "$work/apt.log")); check the network, and /etc/apt for a proxy, and repeat"
step "fetching packages and sources (about 200 MB)"
(
  cd "$work/debs"
  apt-get download -qq gcc-xtensa-lx106/trixie binutils-xtensa-lx106/trixie libc6/trixie libgcc-s1/trixie libstdc++6/trixie \
    libgmp10/trixie libmpfr6/trixie libmpc3/trixie libisl23/trixie libzstd1/trixie zlib1g/trixie \
    libstdc++-riscv64-unknown-elf-dev/trixie gcc-14-source/trixie binutils-source/trixie
  cd "$work/sources"
  apt-get source -qq --download-only --tar-only --only-source qemu/bookworm picolibc/trixie
) >"$work/apt.log" 2>&1 || fail "packages of Debian could not be fetched ($(tail -n 1 "$work/apt.log")); check the network and repeat"
unset APT_CONFIG

step "unpacking"
cd "$work"
for deb in debs/*.deb; do
  case $deb in
    debs/gcc-14-source*) dpkg-deb --fsys-tarfile "$deb" | tar x --wildcards -C sources './usr/src/gcc-14/gcc-14*.tar.xz' ;;
    debs/binutils-source*) dpkg-deb --fsys-tarfile "$deb" | tar x --wildcards -C sources './usr/src/binutils/binutils-*.tar.xz' ;;
    debs/libstdc++-riscv64*) dpkg-deb --fsys-tarfile "$deb" | tar x --wildcards -C "$top/root" '*/newlib/c++/*' --exclude '*/rv64*' --exclude '*.a' ;;
    *) dpkg-deb -x "$deb" "$top/root" ;;
  esac
done
only() { tar x -C sources --wildcards -f "$@"; }
only sources/qemu_*.orig.tar.xz '*/target/xtensa/core-de233_fpu/*' '*/include/qemu/qemu-plugin.h'
only sources/picolibc_*.orig.tar.gz
only sources/usr/src/gcc-14/gcc-14*.tar.xz '*/libgcc/config/xtensa/*' '*/include/xtensa*' '*/include/ansidecl.h'
only sources/usr/src/binutils/binutils-*.tar.xz '*/include/xtensa*' '*/include/ansidecl.h'
rm -rf debs
one() { [ $# -eq 1 ] && [ -e "$1" ] || fail "the sources of the Xtensa toolchain are not laid out as expected ($1); this recipe was written for Debian 12 and trixie"; echo "$1"; }
qemu=$(one "$work"/sources/qemu-*/)
gcc_source=$(one "$work"/sources/gcc-14*/)
binutils_source=$(one "$work"/sources/binutils-*/)
picolibc=$(one "$work"/sources/picolibc-*/)

# ---- trixie's programs, through trixie's loader ----------------------------------------------------------------------
bin=$top/root/usr/bin
loader=$(one "$top"/root/usr/lib/*/ld-linux*.so.*)
libraries=usr/lib/$(basename "$(dirname "$loader")")
gcc_folder=$(one "$top"/root/usr/lib/gcc/xtensa-lx106-elf/*/)
gcc_folder=${gcc_folder%/}
# through FILE UP REAL: makes FILE a script that runs REAL, both within FILE's folder; UP leads from there to the root.
through() {
  cat >"$1.new" <<X
#!/bin/sh
up="\${0%/*}/$2"
exec "\$up/$libraries/$(basename "$loader")" --inhibit-cache --library-path "\$up/$libraries" --argv0 "\$0" "\${0%/*}/$3" "\$@"
X
  chmod +x "$1.new"
  mv "$1.new" "$1"
}
mkdir -p "$bin/real"
tools="addr2line ar as c++filt cpp g++ gcc ld nm objcopy objdump ranlib readelf size strings strip"
for tool in $tools; do
  mv "$bin/xtensa-lx106-elf-$tool" "$bin/real/$tool"
done
rm -f "$bin"/xtensa-lx106-elf-*
for tool in $tools; do through "$bin/xtensa-lx106-elf-$tool" ../.. "real/$tool"; done
second=$top/root/usr/lib/xtensa-lx106-elf/bin  # where GCC looks for assembler and linker
rm -f "$second"/*
for tool in as ld ar nm ranlib; do through "$second/$tool" ../../../.. "../../../bin/real/$tool"; done
for program in cc1 cc1plus collect2 lto-wrapper; do
  mv "$gcc_folder/$program" "$gcc_folder/$program.real"
  through "$gcc_folder/$program" ../../../../.. "$program.real"
done
rm -rf "$gcc_folder"/{d21,lto1,g++-mapper-server,plugin,install-tools} "$top"/root/usr/share "$top/root/$libraries/gconv"

# ---- the core's description, as a plugin of assembler, linker and compiler --------------------------------------------
step "building the description of the core"
cp "$qemu/target/xtensa/core-de233_fpu/core-isa.h" config/
cp "$qemu/target/xtensa/core-de233_fpu/xtensa-modules.c.inc" config/xtensa-modules.c
cp "$here/xtensa_config.h" config/xtensa-config.h
gcc -shared -fPIC -O2 -w -Iconfig -I"$binutils_source/include" -I"$gcc_source/include" -include "$binutils_source/include/ansidecl.h" \
  "$here/xtensa_plugin.c" config/xtensa-modules.c -o "$top/lib/xtensa_core.so"

# ---- what people call ---------------------------------------------------------------------------------------------------
headers=$(cd "$top" && one root/usr/include/newlib/c++/*/)
headers=${headers%/}
target_headers=$headers/riscv64-unknown-elf/rv32imafc/ilp32f
[ -d "$top/$target_headers" ] || fail "the C++ headers of Debian's RISC-V compiler are not laid out as expected ($target_headers)"
for tool in $tools; do
  case $tool in
    g++) flags="-nostdinc++ -isystem \"\$top/$headers\" -isystem \"\$top/$target_headers\" -isystem \"\$top/include\" -L\"\$top/lib\"" ;;
    gcc | cpp) flags="-isystem \"\$top/include\" -L\"\$top/lib\"" ;;
    *) flags= ;;
  esac
  cat >"$top/bin/xtensa-lx7-elf-$tool" <<X
#!/bin/sh
top="\${0%/*}/.."
XTENSA_GNU_CONFIG="\$top/lib/xtensa_core.so"
export XTENSA_GNU_CONFIG
exec "\$top/root/usr/bin/xtensa-lx106-elf-$tool" $flags "\$@"
X
  chmod +x "$top/bin/xtensa-lx7-elf-$tool"
done
xt=$top/bin/xtensa-lx7-elf-

# ---- libgcc for the windowed ABI: GCC's assembly, and 64-bit division in C ----------------------------------------------
step "building libgcc"
lib1="_mulsi3 _divsi3 _modsi3 _udivsi3 _umodsi3 _umulsidi3 _clz _clrsbsi2 _clzsi2 _ctzsi2 _ffssi2 _ashldi3 _ashrdi3 _lshrdi3
  _bswapsi2 _bswapdi2 _negsf2 _addsubsf3 _mulsf3 _divsf3 _cmpsf2 _fixsfsi _fixsfdi _fixunssfsi _fixunssfdi _floatsisf
  _floatunsisf _floatdisf _floatundisf _sqrtf _recipsf2 _rsqrtsf2 _negdf2 _addsubdf3 _muldf3 _divdf3 _cmpdf2 _fixdfsi _fixdfdi
  _fixunsdfsi _fixunsdfdi _floatsidf _floatunsidf _floatdidf _floatundidf _truncdfsf2 _extendsfdf2 _sqrt _recipdf2 _rsqrtdf2"
assemble=("${xt}gcc" -c -mlongcalls -mtext-section-literals -ffunction-sections -I"$gcc_source/include" -I"$gcc_source" -xassembler-with-cpp)
for part in $lib1; do
  "${assemble[@]}" -DL"$part" "$gcc_source/libgcc/config/xtensa/lib1funcs.S" -o "libgcc/$part.o"
done
"${assemble[@]}" "$gcc_source/libgcc/config/xtensa/lib2funcs.S" -o libgcc/lib2funcs.o
"${xt}gcc" -O2 -fno-builtin -mlongcalls -mtext-section-literals -ffunction-sections -c "$here/xtensa_int64.c" -o libgcc/int64.o
"${xt}ar" rcs "$top/lib/libgcc_windowed.a" libgcc/*.o

# ---- picolibc for the same core -----------------------------------------------------------------------------------------
step "building picolibc"
cp config/core-isa.h "$picolibc/newlib/libc/machine/xtensa/machine/core-isa.h"
cat >cross.txt <<X
[binaries]
c = ['${xt}gcc', '-mlongcalls', '-mtext-section-literals', '-nostdlib']
ar = '${xt}ar'
as = '${xt}as'
nm = '${xt}nm'
strip = '${xt}strip'
[host_machine]
system = 'unknown'
cpu_family = 'xtensa'
cpu = 'xtensa'
endian = 'little'
[properties]
skip_sanity_check = true
X
options="-Dmultilib=false -Dpicocrt=false -Dsemihost=false -Dtests=false -Dspecsdir=none -Dthread-local-storage=false -Doptimization=2 -Ddebug=false"
# shellcheck disable=SC2086
{ meson setup picolibc "$picolibc" --cross-file cross.txt $options -Dprefix="$work/installed" -Dincludedir=include -Dlibdir=lib &&
  ninja -C picolibc install; } >picolibc.log 2>&1 || { tail -n 20 picolibc.log >&2; fail "picolibc did not build; the lines above say why"; }
cp -r installed/include "$top/include"
cp installed/lib/libc.a "$top/lib/"

# ---- whole: into place ----------------------------------------------------------------------------------------------------
echo 'int f(int a, int b) { return a * b; }' | "${xt}g++" -std=c++17 -O2 -x c++ -c - -o probe.o
"${xt}objdump" -d probe.o | grep -q 'entry' || fail "the Xtensa compiler that was made emits no windowed calls; this recipe was written for Debian 12 and trixie"
rm -rf "$folder/qemu"
mkdir "$folder/qemu"
cp "$qemu/include/qemu/qemu-plugin.h" "$folder/qemu/"
echo "$recipe" >"$top/.recipe"
cd "$folder"
rm -rf xtensa
mv "$top" xtensa
step "made in $folder/xtensa ($(du -sh xtensa | cut -f1))"
