#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Run scenarios on real Xen, under QEMU. Usage: lab.sh x86|x86-bookworm|arm64|all [SCENARIO...]
#
# Fetches Debian packages, and builds kernels, in a cache that checkouts share ($LAB_CACHE, scripts/cache.sh); builds
# programs and images in this checkout ($LAB_BUILD, default build/lab-ARCH); boots, and runs the scenarios in dom0
# (lib/drive.py); prints a line each and, at the end, "N passed, N failed". docs/lab.md has the rest. Other words than
# scenarios: `prepare` does all but boot; `boot` boots what is prepared, its console is this terminal's; `shell` does
# both and gives a shell in dom0 (and `lab-shell` is the scenario that tests it); `demo` is `make run-xen`.
set -u
arch=${1-}
labs='x86 x86-bookworm arm64'
case " $labs all " in *" $arch "*) shift ;; *) echo "usage: lab.sh ${labs// /|}|all [SCENARIO...]" >&2; exit 2 ;; esac

export LAB_BUILD
LAB_DIR=$(cd "$(dirname "$0")" && pwd)
LAB_TOP=$(cd "$LAB_DIR/../.." && pwd)
. "$LAB_TOP/scripts/cache.sh"
LAB_XEN_ARGS=${LAB_XEN_ARGS:-}
LAB_DOM0_ARGS=${LAB_DOM0_ARGS:-}

# scenario_is_of ARCH FILE: by its line "# Labs:", and, but for `make lab-full`, unless a line "# Full:" names the lab.
scenario_is_of() {
	grep -qE "^# Labs:.* $1( |\$)" "$2" && { [ -n "${LAB_FULL-}" ] || ! grep -qE "^# Full:.* $1( |\$)" "$2"; }
}

# scenarios_of ARCH [SCENARIO...]: the named ones, or those that the lab has a list of, or all, with commas between
# them.
scenarios_of() {
	local arch=$1 s
	shift
	[ $# -gt 0 ] || set -- $(. "$LAB_DIR/${arch%%-*}.sh" && echo $LAB_SCENARIOS)
	[ $# -gt 0 ] || set -- $(for s in "$LAB_DIR"/scenarios/*.sh; do scenario_is_of "$arch" "$s" &&
		basename "$s" .sh; done) $(lab_more_scenarios "$arch")
	echo "$*" | tr ' ' ,
}

# drive ARCH...: one machine for scenarios that were named; two at a time, and a second try for what fails, for all of
# them.
drive() {
	local machines=2 retry=--retry arch build labs=
	[ -z "$named" ] || machines=1 retry=
	[ "${LAB_RETRY-}" != 1 ] || retry=--retry
	for arch; do
		case " $unprepared " in *" $arch "*) build= ;; *) build=$(build_of "$arch") ;; esac
		labs="$labs $arch:$build:$(scenarios_of "$arch" $named)"
	done
	exec python3 "$LAB_DIR/lib/drive.py" --machines "${LAB_MACHINES:-$machines}" $retry $labs
}
named=$* unprepared=
lab_more_scenarios() { [ "$1" != arm64 ] || echo lab-shell; }

if [ "$arch" = all ]; then
	build_of() { echo "${LAB_BUILD:-$LAB_TOP/build/lab}-$1"; }
	prepare() { LAB_BUILD=$(build_of "$1") "$0" "$1" prepare; }
	for arch in $labs; do LAB_BUILD=$(build_of "$arch") "$0" "$arch" host || exit 1; done
	# Side by side: much of it is one processor's work, or the network's.
	prepare arm64 & job=$!
	for arch in x86 x86-bookworm; do prepare $arch || unprepared="$unprepared $arch"; done
	wait $job || unprepared="$unprepared arm64"
	[ "$named" != prepare ] || exit $((${#unprepared} > 0))
	drive $labs
fi
build_of() { echo "$LAB_BUILD"; }
LAB_BUILD=${LAB_BUILD:-$LAB_TOP/build/lab-$arch}
LAB_TOOLS="tests/lab/tools/grants tests/lab/tools/grantiod-bad" # built for the lab only
mkdir -p "$LAB_BUILD" "$LAB_CACHE"
. "$LAB_DIR/lib/packages.sh"
. "$LAB_DIR/lib/headers.sh"
. "$LAB_DIR/lib/initramfs.sh"
. "$LAB_DIR/lib/debian.sh"
. "$LAB_DIR/lib/systemd.sh"
. "$LAB_DIR/lib/fio.sh"
. "$LAB_DIR/${arch%%-*}.sh"
LAB_APT=$LAB_CACHE/$LAB_SUITE-$LAB_DEBARCH

die() { echo "lab: $*" >&2; exit 1; }
# step NAME COMMAND...: its output goes to a log that is shown only if it fails.
step() {
	local name=$1 start=$SECONDS
	shift
	"$@" >"$LAB_BUILD/$name.log" 2>&1 || { tail -n 30 "$LAB_BUILD/$name.log" >&2; die "$arch: $name failed"; }
	[ $((SECONDS - start)) -lt 3 ] || echo "lab $arch: $name took $((SECONDS - start)) s"
}

host_packages() {
	local missing
	missing=$(for p in $(lab_host_packages); do dpkg-query -W -f='${Status}' "$p" 2>/dev/null |
		grep -q 'ok installed' || echo "$p"; done)
	[ -z "$missing" ] || { apt-get -qq update &&
		DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 install \
		-y --no-install-recommends $missing; }
}

# programs_setup DIR OPTION...: a build folder belongs to one checkout, one root of libraries and one set of options:
# for others it is made anew.
programs_setup() {
	local dir=$1 key
	shift
	key="$LAB_TOP $LAB_ROOT $*"
	[ "$(cat "$dir/lab-key" 2>/dev/null)" != "$key" ] || return 0
	rm -rf "$dir"
	meson setup "$dir" "$LAB_TOP" "$@" --buildtype=release -Ddevelop=false && echo "$key" >"$dir/lab-key"
}

# What nobody has used for two months.
cache_prune() {
	touch "$LAB_ROOT"
	find "$LAB_APT" -maxdepth 1 \( -name 'root-*' -o -name 'debian-*' -o -name 'systemd-*' -o -name 'qemu-*' \) \
		-mtime +60 -exec rm -rf {} +
	find "$LAB_APT/debs" -name '*.deb' -atime +60 -mtime +60 -delete
}

guest_image() { # KERNEL
	local tree=$LAB_BUILD/guest-$1
	initramfs_new "$tree" "$LAB_ROOT" || return 1
	lab_guest_modules "$tree" "$1" || return 1
	initramfs_program "$tree" "$LAB_BUILD/programs/cli/grantio" $(lab_libdirs) || return 1
	cp "$LAB_DIR/guest/init" "$tree/init" && chmod 755 "$tree/init"
	mkdir -p "$tree/guest" && cp "$LAB_DIR"/guest/*.sh "$tree/guest/"
	initramfs_pack "$tree" "$LAB_BUILD/guest-$1.cpio.gz"
}

dom0_image() {
	local tree=$LAB_BUILD/dom0 name file
	initramfs_new "$tree" "$LAB_ROOT" || return 1
	for name in xl xen-init-dom0 xenconsoled xenstored libxl-save-helper xenstore-ls xenstore-read xenstore-write \
		xenstore-list xenstore-exists xenstore-rm xenstore-watch xenstore-chmod; do
		file=$(find "$LAB_ROOT/usr/lib" "$LAB_ROOT/usr/bin" "$LAB_ROOT/usr/sbin" -path "*/$name" -type f \
			-o -path "*/bin/$name" -type l 2>/dev/null | grep -v 'xen-common' | head -n 1)
		[ -n "$file" ] || { echo "lab: no program '$name' in the packages"; return 1; }
		initramfs_program "$tree" "$file" $(lab_libdirs) || return 1
	done
	for file in "$LAB_BUILD"/programs/backend/grantiod "$LAB_BUILD"/programs/cli/grantio \
		$(printf "$LAB_BUILD/programs/%s " $LAB_TOOLS); do
		initramfs_program "$tree" "$file" $(lab_libdirs) || return 1
	done
	# `xl console` runs this one by its full name.
	file=$(find "$LAB_ROOT/usr/lib" -name xenconsole -type f | head -n 1)
	initramfs_program "$tree" "$file" $(lab_libdirs) && mkdir -p "$tree$(dirname "${file#"$LAB_ROOT"}")" &&
		ln -s /bin/xenconsole "$tree${file#"$LAB_ROOT"}" || return 1
	# And `xl save` this one.
	file=$(find "$LAB_ROOT/usr/lib" -name libxl-save-helper -type f | head -n 1)
	mkdir -p "$tree$(dirname "${file#"$LAB_ROOT"}")" && ln -sf /bin/libxl-save-helper "$tree${file#"$LAB_ROOT"}" ||
		return 1
	# pthread_cancel() loads it by name: without it xl aborts.
	for file in $(lab_libdirs); do [ -e "$file/libgcc_s.so.1" ] && cp -L "$file/libgcc_s.so.1" "$tree/lib/"; done
	mkdir -p "$tree/etc/xen" && : >"$tree/etc/xen/xl.conf" # xl complains of its absence each time
	lab_dom0_modules "$tree" || return 1
	cp "$LAB_DIR/dom0/init" "$tree/init" && chmod 755 "$tree/init"
	mkdir -p "$tree/lab/scenarios" && cp "$LAB_DIR"/dom0/*.sh "$tree/lab/" &&
		cp "$LAB_DIR"/scenarios/*.sh "$tree/lab/scenarios/"
	mkdir -p "$tree/etc/xen/scripts" && cp "$LAB_DIR/dom0/block" "$tree/etc/xen/scripts/" &&
		chmod 755 "$tree/etc/xen/scripts/block"
	echo "DISK_SPEC='$lab_disk_spec' GUEST_ARGS='$lab_guest_args'" >>"$tree/lab/lib.sh"
	for name in $(lab_guest_kernels); do
		lab_guest_cfg "$name" >"$tree/lab/guest-$name.cfg"
		cp "$LAB_BUILD/guest-$name.cpio.gz" "$tree/lab/"
	done
	echo "GUEST_KERNEL_FIRST=$(lab_guest_kernels | awk '{ print $1; exit }')" >>"$tree/lab/lib.sh"
	echo "LAB_TIMES=${LAB_TIMES:-2}" >>"$tree/lab/lib.sh"
	fio_image "$tree/lab/add-fio.cpio.gz" || return 1
	lab_dom0_files "$tree" || return 1
	initramfs_pack "$tree" "$LAB_BUILD/dom0.cpio$LAB_DOM0_SUFFIX"
}

[ "$named" != boot ] || { lab_qemu; exit; }
exec 8>"$LAB_BUILD/lock"
flock -n 8 || { echo "lab $arch: another run uses $LAB_BUILD: waiting for it"; flock 8; }
step host host_packages
[ "$named" != host ] || exit 0
step lists apt_private "$LAB_APT" "$LAB_SUITE" "$LAB_DEBARCH"
LAB_ROOT=$LAB_APT/root-$(apt_key "$LAB_APT" $(lab_packages))
step host-programs lab_host_programs
step packages apt_unpack "$LAB_APT" "$LAB_ROOT" $(lab_packages)
step kernels locked "$LAB_APT.kernels.lock" lab_kernels
step programs lab_programs
step fio locked "$LAB_CACHE/$LAB_DEBARCH-fio.lock" lab_fio "${CROSS:-}"
for kernel in $(lab_guest_kernels); do step "guest-image-$kernel" guest_image "$kernel"; done
step dom0-image dom0_image
step more-images lab_more_images
step prune locked "$LAB_APT.prune.lock" cache_prune
[ "$named" != prepare ] || exit 0
if [ "$named" = demo ]; then
	echo "lab $arch: booting"
	LAB_DOM0_ARGS="$LAB_DOM0_ARGS lab=demo" LAB_TIMEOUT=${LAB_TIMEOUT:-600} "$0" "$arch" boot </dev/null 2>&1 |
		tee "$LAB_BUILD/demo.log" |
		sed -u -n 's/\r$//; s/^LAB show \?//p'
	grep -aq '^LAB show All of it went well' "$LAB_BUILD/demo.log" ||
		die "the demonstration did not end well: $LAB_BUILD/demo.log"
	exit
fi
if [ "$named" = shell ]; then
	echo "lab $arch: booting; the shell comes in $lab_shell_comes"
	[ ! -t 0 ] || LAB_DOM0_ARGS="$LAB_DOM0_ARGS $(stty size | sed 's/\(.*\) \(.*\)/rows=\1 cols=\2/')"
	LAB_DOM0_ARGS="$LAB_DOM0_ARGS lab=shell" LAB_XEN_ARGS="$LAB_XEN_ARGS loglvl=error guest_loglvl=error" lab_qemu
fi
drive "$arch"
