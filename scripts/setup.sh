#!/bin/sh
# SPDX-License-Identifier: MIT
# Install the Debian packages that a job needs and that are missing; say which. Debian 12 and 13.
# Usage: setup.sh GROUP...   groups: build run test bench ci deb kmod bare
set -eu

packages() {
	case $1 in
	build)
		echo gcc libc6-dev meson ninja-build pkg-config libxen-dev liburing-dev libnbd-dev libfdt-dev \
			nbdkit-plugin-dev libcmocka-dev device-tree-compiler
		;;
	run)   echo nbdkit libnbd-bin qemu-utils fio e2fsprogs xenstore-utils ;;
	test)  echo nbdkit libnbd-bin qemu-utils fio e2fsprogs xenstore-utils strace util-linux ;;
	bench) echo gnuplot-nox ;;
	ci)    echo procps clang clang-format gcc-aarch64-linux-gnu gcc-arm-linux-gnueabihf \
		gcc-i686-linux-gnu libc6-dev-arm64-cross libc6-dev-armhf-cross binutils dt-schema ;;
	deb)   echo build-essential debhelper dh-dkms meson pkg-config libxen-dev liburing-dev libnbd-dev libfdt-dev \
		nbdkit-plugin-dev lintian mandoc groff-base systemd git ;;
	kmod)  echo gcc make perl xz-utils kmod sparse dkms gcc-aarch64-linux-gnu gcc-arm-linux-gnueabihf ;;
	bare)  echo debootstrap util-linux git ;;
	*)     echo "setup.sh: group '$1': must be build, run, test, bench, ci, deb, kmod or bare" >&2; exit 2 ;;
	esac
}

wanted=$(for group; do packages "$group"; done)
missing=$(for p in $wanted; do
	dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || echo "$p"
done | sort -u)
[ -n "$missing" ] || exit 0

# The list is printed on one line, for a person to read.
missing=$(echo $missing)
if [ "$(id -u)" != 0 ]; then
	echo "setup.sh: these packages are missing, and only root can install them: $missing" >&2
	exit 1
fi
echo "installing Debian packages: $missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
# The package lists may be absent (a bare machine) or stale (a file gone from the mirror): refresh, then install.
if ! {
	apt-get update && apt-get -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 install \
		-y --no-install-recommends $missing
} >"$log" 2>&1; then
	tail -n 20 "$log" >&2
	echo "setup.sh: apt-get could not install: $missing" >&2
	exit 1
fi
