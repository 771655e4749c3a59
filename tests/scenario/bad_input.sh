#!/bin/bash
# SPDX-License-Identifier: MIT
# What a host's administrator meets: a full file system, an NBD server that goes, bad command lines. Each is said in one
# clear line, and the disk beside it goes on. Prints TAP. Usage: bad_input.sh BUILD_DIR
set -uo pipefail
# A mount namespace of our own: nobody else sees the small file system, and it is gone with this script, however it
# ends. Where / is no mount point (a chroot) its mounts cannot be made private; the small one is then unmounted below as
# ever.
if [ -z "${GRANTIO_UNSHARED-}" ]; then
	export GRANTIO_UNSHARED=1
	unshare --mount true 2>/dev/null && exec unshare --mount "$0" "$@"
	exec unshare --mount --propagation unchanged "$0" "$@"
fi
. "$(dirname "$0")/../host/machine.sh"
. "$(dirname "$0")/../host/tap.sh"

bench() { timeout -k 5 60 "$grantio" bench --domid 1 "$@"; }
# Try COMMAND until it succeeds, for a minute at the most.
until_true() {
	local end=$((SECONDS + 60))
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}

neighbour_serves() { bench --disk xvda --requests 500; }

# What grantiod has said since the last mark, of one level or worse ("<4>" is a warning).
log_mark() { marked=$(wc -l <"$work/grantiod.log"); }
log_new() { tail -n "+$((marked + 1))" "$work/grantiod.log" | grep -E '^<[0-4]>'; }
# Exactly one such line holds TEXT.
log_says_once() { # TEXT
	log_new
	[ "$(log_new | grep -cF -- "$1")" = 1 ]
}

nbd_server_start() {
	rm -f "$work/server.sock" "$work/server.up"
	nbdkit --foreground --unix "$work/server.sock" --pidfile "$work/server.up" file "$work/remote.raw" &
	nbd_pid=$!
	until_true test -s "$work/server.up"
}
nbd_server_kill() {
	kill -KILL "$nbd_pid"
	wait "$nbd_pid" 2>/dev/null
	nbd_pid=''
}

disk_full() {
	log_mark
	! bench --disk xvdb --rw write --bs 64k --depth 1 --requests 1000 2>"$work/err" && cat "$work/err" &&
		grep -q 'write of 65536 bytes at' "$work/err" && log_says_once 'No space left on device'
}
# The ballast goes with its last descriptor.
disk_full_mended() { exec 9>&- && bench --disk xvdb --rw write --bs 64k --depth 1 --requests 4; }

server_gone() {
	log_mark
	nbd_server_kill
	! bench --disk xvdc --requests 10 2>"$work/err" && cat "$work/err" &&
		grep -q 'read of 4096 bytes at' "$work/err" &&
		[ "$(log_new | grep -c 'd1/xvdc')" -le 3 ] && log_new | grep -q 'd1/xvdc'
}
server_back() { nbd_server_start && until_true bench --disk xvdc --requests 10; }

refused() { one_line 2 "$1" "$build/backend/grantiod" "${@:2}"; }

machine_open "$1"
mkdir "$work/small"
mount -t tmpfs -o size=8m tmpfs "$work/small"
truncate -s 64M "$work/small/disk.raw" "$work/near.raw" "$work/remote.raw"
exec 9>"$work/small/ballast"
rm "$work/small/ballast"
head -c 6M /dev/zero >&9
nbd_server_start 9>&-
grantiod_start 9>&-
"$grantio" model create --domid 1 >/dev/null
"$grantio" disk attach 1 "$work/near.raw" --vdev xvda >/dev/null
"$grantio" disk attach 1 "$work/small/disk.raw" --vdev xvdb >/dev/null
umount --lazy "$work/small" # it lives on in grantiod's descriptor and in ours
"$grantio" disk attach 1 "nbd+unix:///?socket=$work/server.sock" --vdev xvdc >/dev/null

check 'a full file system: an I/O error, and one line' disk_full
check 'the disk beside it serves' neighbour_serves
check 'with room again it is written' disk_full_mended
check 'the NBD server serves' bench --disk xvdc --requests 100
check 'the NBD server is killed: I/O errors, and a few lines' server_gone
check 'the disk beside it serves' neighbour_serves
check 'the server is back, and the disk serves' server_back
check 'grantiod: a number out of range' refused "--queues '99'" --queues 99
check 'grantiod: no power of two' refused "--queue-size '100'" --queue-size 100
check 'grantiod: a word that is no level' refused "--log-level 'loud'" --log-level loud
check 'grantiod: no such option' refused 'fast' --fast
check 'grantiod: a configuration that is not there' one_line 2 "$work/none" "$build/backend/grantiod" \
	--config "$work/none"
printf 'queues = 2\ncolour = red\n' >"$work/conf"
check 'grantiod: an unknown key, with its line' one_line 2 "$work/conf:2" "$build/backend/grantiod" \
	--config "$work/conf"
check 'grantiod ends' grantiod_stop
checks_end
