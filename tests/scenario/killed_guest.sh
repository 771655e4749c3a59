#!/bin/bash
# SPDX-License-Identifier: MIT
# A guest's program is killed in the middle of I/O: the next one starts at once on what it left, whatever that is.
# Prints TAP. Usage: killed_guest.sh BUILD_DIR
set -uo pipefail
. "$(dirname "$0")/../host/machine.sh"
. "$(dirname "$0")/../host/tap.sh"

bench() { timeout -k 5 120 "$grantio" bench --domid 1 --disk xvda "$@"; }

# What domain 0 has copied so far, in bytes.
copied() { "$grantio" model stats --json | sed -n 's/.*"domid": 0,.*"bytes_copied": \([0-9]*\).*/\1/p'; }
# Wait until another MiB has been copied: somebody is in the middle of I/O.
io_flows() {
	local end=$((SECONDS + 120)) before
	before=$(copied)
	until [ "$(copied)" -gt $((before + 1048576)) ]; do
		[ $SECONDS -lt $end ] || return 1
	done
}

# Kill COMMAND, which does I/O as a guest, while it does.
killed_under_load() { # COMMAND...
	local pid flows=0
	"$@" >"$work/killed.log" 2>&1 &
	pid=$!
	io_flows || flows=1
	kill -KILL $pid
	wait $pid 2>/dev/null
	[ $flows = 0 ] || cat "$work/killed.log"
	return $flows
}
bench_killed() { # DEPTH BYTES
	killed_under_load "$grantio" bench --domid 1 --disk xvda --depth "$1" --bs "$2" --time 120s
}
bench_works() { bench --depth "$1" --requests 300 && bench --depth 32 --bs 64k --requests 300; }

nbdkit_killed() {
	local copy
	guest_start 1 xvda || return 1
	nbdcopy "$nbd_uri" null: 2>/dev/null &
	copy=$!
	io_flows
	kill -KILL "$nbd_pid"
	wait "$nbd_job" "$copy" 2>/dev/null
	nbd_pid=''
	return 0
}
nbdkit_works() { guest_start 1 xvda && timeout -k 5 120 nbdcopy "$nbd_uri" null: && guest_stop; }

# Two programs cannot be one guest; the second is told who the first is.
second_guest_refused() {
	guest_start 1 xvda || return 1
	one_line 1 "cannot be its guest, since process $nbd_pid is" "$grantio" bench --domid 1 --disk xvda \
		--requests 1 &&
		guest_stop
}

machine_open "$1"
truncate -s 64M "$work/disk.raw"
grantiod_start
"$grantio" model create --domid 1 >/dev/null
"$grantio" disk attach 1 "$work/disk.raw" --vdev xvda >/dev/null

check 'bench is killed at depth 1' bench_killed 1 4k
check 'the next one works at once' bench_works 1
check 'bench is killed at depth 32' bench_killed 32 64k
check 'and again, before anybody has cleared up' bench_killed 32 64k
check 'the next one works at once' bench_works 32
check 'nbdkit is killed under load' nbdkit_killed
check 'the next one works at once, on all of the disk' nbdkit_works
check 'a second guest program is refused, and told why' second_guest_refused
check 'grantiod ends' grantiod_stop
checks_end
