#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The build matrix: the guest library for arm64, armhf and i386; grantiod, grantio and the model for arm64 and armhf,
# against Debian 12's libraries for those. Warnings are errors. One line a build; exit 1 if any failed.
# Usage: cross.sh BUILD_ROOT
#
# Libraries of other architectures are fetched into a cache ($LAB_CACHE, scripts/cache.sh) by a private apt, and
# unpacked there: nothing foreign is installed on the host but compilers (scripts/setup.sh ci). grantio.ko is built by
# the lab and by kmod/.
set -u
cd "$(dirname "$0")/.."
top=$PWD
build=$1
. scripts/cache.sh
cache=$LAB_CACHE/cross
. scripts/lib.sh
. tests/lab/lib/packages.sh
APT_SECURITY=no # what is linked against here is never run

# quiet NAME COMMAND...: its output is shown only if it fails.
quiet() {
	local log=$build/cross-$1.log
	shift
	"$@" >"$log" 2>&1 || { tail -n 20 "$log" | sed 's/^/  /'; return 1; }
}

packages="libxen-dev libxencall1 libxendevicemodel1 libxenevtchn1 libxenforeignmemory1 libxengnttab1 libxenstore4
	libxentoolcore1 libxentoollog1 liburing-dev liburing2 libnbd-dev libnbd0 libfdt-dev libfdt1"

sysroot() { # ARCH
	mkdir -p "$cache/$1/apt" "$cache/$1/root" || return 1
	apt_private "$cache/$1/apt" bookworm "$1" deb && apt_unpack "$cache/$1/apt" "$cache/$1/root" $packages
}

# Headers of packages count as the system's, since we cannot mend their warnings.
programs_file() { # ARCH TRIPLET
	local root=$cache/$1/root
	cat "scripts/cross/$1.ini"
	cat <<-INI

		[properties]
		sys_root = '$root'
		pkg_config_libdir = '$root/usr/lib/$2/pkgconfig'
		needs_exe_wrapper = true

		[built-in options]
		c_args = ['-isystem', '$root/usr/include']
		c_link_args = ['-Wl,--allow-shlib-undefined', '-L$root/usr/lib/$2', '-Wl,-rpath-link=$root/usr/lib/$2']
	INI
}

configured() { # DIR OPTION...
	local dir=$1
	shift
	[ -f "$dir/build.ninja" ] || meson setup "$dir" -Dwerror=true --buildtype=release "$@"
}

programs() { # ARCH TRIPLET
	local dir=$build/cross-$1-programs
	mkdir -p "$build" && programs_file "$1" "$2" |
		sed "/^\[binaries\]/a pkgconfig = 'pkg-config'" >"$build/cross-$1.ini" || return 1
	configured "$dir" -Ddevelop=false --cross-file "$build/cross-$1.ini" && ninja -C "$dir" --quiet
}

guest_library() { # ARCH TRIPLET
	local dir=$build/cross-$1
	configured "$dir" -Dguest_only=true --cross-file "scripts/cross/$1.ini" && ninja -C "$dir" --quiet || return 1
	guest_needs "$dir/guest/libgrantio-guest.a" "$2-nm"
}

built_for() { # FILE MACHINE: an ELF file for that machine
	readelf -h "$1" 2>/dev/null | grep -q "Machine: *$2" || { echo "  $1 is not for $2"; return 1; }
}

mkdir -p "$build"
while read -r arch triplet machine; do
	quiet "guest-$arch" guest_library "$arch" "$triplet"
	report "the guest library for $arch" $?
	[ "$machine" != - ] || continue
	quiet "sysroot-$arch" sysroot "$arch" && quiet "programs-$arch" programs "$arch" "$triplet" &&
		built_for "$build/cross-$arch-programs/backend/grantiod" "$machine" &&
		built_for "$build/cross-$arch-programs/cli/grantio" "$machine"
	report "grantiod and grantio for $arch" $?
done <<-MATRIX
	arm64 aarch64-linux-gnu AArch64
	armhf arm-linux-gnueabihf ARM
	i386 i686-linux-gnu -
MATRIX
[ "$failed" = 0 ]
