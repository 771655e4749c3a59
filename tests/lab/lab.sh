#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Run scenarios on real Xen, under QEMU. Usage: lab.sh x86|arm64 [SCENARIO...]
#
# Fetches Debian packages into a cache ($LAB_CACHE, default .lab/), builds kernels, programs and images, boots once, and
# runs the scenarios in dom0; prints a line each and, at the end, "N passed, N failed". See README.md here.
set -u
arch=${1-}
case $arch in x86 | arm64) shift ;; *) echo "usage: lab.sh x86|arm64 [SCENARIO...]" >&2; exit 2 ;; esac

LAB_DIR=$(cd "$(dirname "$0")" && pwd)
LAB_TOP=$(cd "$LAB_DIR/../.." && pwd)
LAB_CACHE=${LAB_CACHE:-$LAB_TOP/.lab}
LAB_BUILD=${LAB_BUILD:-$LAB_CACHE/build-$arch}
LAB_ROOT=$LAB_CACHE/$arch/root
LAB_APT=$LAB_CACHE/$arch/apt
LAB_XEN_ARGS=${LAB_XEN_ARGS:-}
mkdir -p "$LAB_BUILD" "$LAB_ROOT" "$LAB_APT"
. "$LAB_DIR/lib/packages.sh"
. "$LAB_DIR/lib/initramfs.sh"
. "$LAB_DIR/$arch.sh"

die() { echo "lab: $*" >&2; exit 1; }
# step NAME COMMAND...: its output goes to a log that is shown only if it fails.
step() {
	local name=$1 start=$SECONDS
	shift
	"$@" >"$LAB_BUILD/$name.log" 2>&1 || { tail -n 30 "$LAB_BUILD/$name.log" >&2; die "$arch: $name failed"; }
	[ $((SECONDS - start)) -lt 3 ] || echo "lab $arch: $name took $((SECONDS - start)) s"
}

scenarios=${*:-$(for s in "$LAB_DIR"/scenarios/*.sh; do grep -q "^# Labs:.*$arch" "$s" && basename "$s" .sh; done)}

host_packages() {
	local missing
	missing=$(for p in $(lab_host_packages); do dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || echo "$p"; done)
	[ -z "$missing" ] || { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing; }
}

guest_image() { # KERNEL
	local tree=$LAB_BUILD/guest-$1
	initramfs_new "$tree" "$LAB_ROOT" || return 1
	lab_guest_modules "$tree" "$1" || return 1
	cp "$LAB_DIR/guest/init" "$tree/init" && chmod 755 "$tree/init"
	mkdir -p "$tree/guest" && cp "$LAB_DIR"/guest/*.sh "$tree/guest/"
	initramfs_pack "$tree" "$LAB_BUILD/guest-$1.cpio.gz"
}

dom0_image() {
	local tree=$LAB_BUILD/dom0 name file
	initramfs_new "$tree" "$LAB_ROOT" || return 1
	for name in xl xen-init-dom0 xenconsoled xenstored libxl-save-helper xenstore-ls xenstore-read xenstore-write xenstore-list \
		xenstore-exists xenstore-rm xenstore-watch; do
		file=$(find "$LAB_ROOT/usr/lib" "$LAB_ROOT/usr/bin" "$LAB_ROOT/usr/sbin" -path "*/$name" -type f -o -path "*/bin/$name" -type l 2>/dev/null | grep -v 'xen-common' | head -n 1)
		[ -n "$file" ] || { echo "lab: no program '$name' in the packages"; return 1; }
		initramfs_program "$tree" "$file" $(lab_libdirs) || return 1
	done
	for file in "$LAB_BUILD"/programs/backend/grantiod "$LAB_BUILD"/programs/cli/grantio; do
		initramfs_program "$tree" "$file" $(lab_libdirs) || return 1
	done
	# pthread_cancel() loads it by name: without it xl aborts.
	for file in $(lab_libdirs); do [ -e "$file/libgcc_s.so.1" ] && cp -L "$file/libgcc_s.so.1" "$tree/lib/"; done
	lab_dom0_modules "$tree" || return 1
	cp "$LAB_DIR/dom0/init" "$tree/init" && chmod 755 "$tree/init"
	mkdir -p "$tree/lab/scenarios" && cp "$LAB_DIR/dom0/lib.sh" "$tree/lab/" && cp "$LAB_DIR"/scenarios/*.sh "$tree/lab/scenarios/"
	echo "DISK_SPEC='$lab_disk_spec'" >>"$tree/lab/lib.sh"
	for name in $(lab_guest_kernels); do
		lab_guest_cfg "$name" >"$tree/lab/guest-$name.cfg"
		cp "$LAB_BUILD/guest-$name.cpio.gz" "$tree/lab/"
	done
	echo "GUEST_KERNEL_FIRST=$(lab_guest_kernels | awk '{ print $1; exit }')" >>"$tree/lab/lib.sh"
	echo "$scenarios" >"$tree/lab/run"
	lab_dom0_files "$tree" || return 1
	initramfs_pack "$tree" "$LAB_BUILD/dom0.cpio$LAB_DOM0_SUFFIX"
}

step host host_packages
step lists apt_private "$LAB_APT" "$LAB_SUITE" "$LAB_DEBARCH"
step packages apt_unpack "$LAB_APT" "$LAB_ROOT" $(lab_packages)
step kernels lab_kernels
step programs lab_programs
for kernel in $(lab_guest_kernels); do step "guest-image-$kernel" guest_image "$kernel"; done
step dom0-image dom0_image

console=$LAB_BUILD/console.log
: >"$console"
start=$SECONDS
lab_qemu "$console" >"$LAB_BUILD/qemu.log" 2>&1
status=$?
tr -d '\r' <"$console" | grep -a '^LAB ' | sed 's/^LAB //'
passed=$(tr -d '\r' <"$console" | grep -ac '^LAB ok ')
wanted=$(echo $scenarios | wc -w)
grep -aq '^LAB end' "$console" || {
	echo "lab $arch: the machine stopped before its scenarios ended (QEMU status $status); its last lines:"
	tail -n 15 "$console"
}
echo "lab $arch: $((SECONDS - start)) s"
echo "$passed passed, $((wanted - passed)) failed"
[ "$passed" = "$wanted" ]
