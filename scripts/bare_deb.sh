#!/bin/sh
# SPDX-License-Identifier: MIT
# On a bare Debian: do the packages do what README says of them? They are installed, tried on the model as a person
# would, and removed. bare.sh runs this. Usage: bare_deb.sh DIR, where the packages are. Each check has one line; the
# last line is "N passed, N failed".
set -u
debs=$1
. "$(dirname "$0")/lib.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
apt() {
	DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 -qq -y --no-install-recommends "$@" >"$work/log" \
		2>&1
}
deb() { find "./$debs" -maxdepth 1 -name "$1_*.deb"; }

services() {
	apt install "$(deb grantiod)" "$(deb grantio)" && [ -x /usr/sbin/grantiod ] && [ -f /etc/grantio/grantiod.conf ]
}
# On a machine without Xen, each line that says "missing" has a remedy, and the exit status is 1.
doctor() {
	grantio doctor >"$work/log" 2>&1
	[ $? = 1 ] && grep -q '^missing ' "$work/log" && ! grep '^missing ' "$work/log" | grep -v ' -> '
}
says_version() { grantiod --version >"$work/log" 2>&1 && grep -q "^grantiod [0-9]" "$work/log"; }

# Run a machine of the model with its backend and a load, by installed programs only.
model() {
	model_lib=$(dpkg -L grantio | grep 'libgrantio-model\.so$')
	GRANTIO_MACHINE=$(grantio model start 2>"$work/log") || return 1
	export GRANTIO_MACHINE
	truncate -s 8M "$work/disk.raw"
	XENSTORED_PATH=$GRANTIO_MACHINE/store LD_PRELOAD=$model_lib grantiod 2>>"$work/log" &
	grantiod=$!
	{ grantio model create --domid 1 --memory 64M && grantio disk attach 1 "$work/disk.raw" --vdev xvda &&
		grantio bench --domid 1 --depth 8 --rw randrw --time 1s && plugin; } >>"$work/log" 2>&1
	status=$?
	kill $grantiod
	wait $grantiod || status=1
	grantio model stop >>"$work/log" 2>&1 || status=1
	return $status
}
plugin() {
	nbdkit grantio machine="$GRANTIO_MACHINE" domid=1 disk=xvda --run 'nbdinfo --size "$uri"' >"$work/size" &&
		grep -qx 8388608 "$work/size"
}
clients() { apt install "$(deb nbdkit-plugin-grantio)" nbdkit libnbd-bin; }
pages() {
	for page in grantiod.8 grantio.1 nbdkit-grantio-plugin.1; do
		find /usr/share/man -name "$page.gz" | grep -q . || return 1
	done
}

develops() {
	apt install "$(deb libgrantio-guest-dev)" gcc libc6-dev pkg-config || return 1
	printf '#include <grantio/virtio_blk.h>\nint main(void) { return 0; }\n' >"$work/user.c"
	gcc -o "$work/user" "$work/user.c" $(pkg-config --cflags --libs grantio-guest) >"$work/log" 2>&1
}

# The module is built for each kernel whose headers are installed, and put into its initramfs.
module() {
	apt install "$(deb grantio-dkms)" "linux-headers-$(dpkg --print-architecture)" || return 1
	dkms status >"$work/log" 2>&1
	grep -q '^grantio.*: installed' "$work/log" && find /lib/modules -name 'grantio.ko*' | grep -q . &&
		[ -x /usr/share/initramfs-tools/hooks/grantio ]
}

removed() {
	apt purge grantiod grantio grantio-dkms nbdkit-plugin-grantio libgrantio-guest-dev || return 1
	find / -xdev \( -path /proc -o -path /sys -o -path /root -o -path /tmp -o -path /var/cache -o -path /var/log \
		-o -path /var/lib/dpkg -o -path /var/lib/apt \) -prune -o -name '*grantio*' -print >"$work/log"
	[ ! -s "$work/log" ]
}

apt update; report "the package lists" $? "$work/log"
services; report "grantiod and grantio install" $? "$work/log"
says_version; report "grantiod --version" $? "$work/log"
doctor; report "grantio doctor says what a machine without Xen lacks, and what to do" $? "$work/log"
clients; report "nbdkit-plugin-grantio installs" $? "$work/log"
model; report "a model machine, a backend, a load and an NBD client, by what is installed" $? "$work/log"
pages; report "the man pages are there" $? "$work/log"
develops; report "a program builds with libgrantio-guest-dev" $? "$work/log"
module; report "grantio-dkms builds the module for Debian's kernel" $? "$work/log"
removed; report "purge leaves nothing" $? "$work/log"
report_end
