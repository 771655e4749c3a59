#!/bin/bash
# SPDX-License-Identifier: MIT
# Show what grantio does, on one machine of the model: two guests, three disks, real clients, what it costs, and a
# backend that is refused. Everything is in temporary directories, which are removed at the end.
# Usage: run.sh BUILD_DIR
set -euo pipefail
. "$(dirname "$0")/../tests/host/machine.sh"

if [ -t 1 ]; then bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'; else bold='' green='' red='' plain=''; fi

heading() { printf '\n%s%s%s\n' "$bold" "$1" "$plain"; }

# Run a command and say how it went; its last line of output is the result, unless RESULT is given.
step() { # WHAT RESULT COMMAND...
	local what=$1 result=$2 begin=$EPOCHREALTIME
	shift 2
	if ! "$@" >"$work/step.log" 2>&1; then
		printf '  %sfailed%s  %s\n' "$red" "$plain" "$what"
		tail -n 20 "$work/step.log" "$work/grantiod.log" >&2
		exit 1
	fi
	[ -n "$result" ] || result=$(tail -n 1 "$work/step.log")
	printf '  %sok%s %5.1f s  %-46s %s\n' "$green" "$plain" "$(awk "BEGIN { print $EPOCHREALTIME - $begin }")" \
		"$what" "$result"
}

refuses() { ! "$@" >"$work/refused.log" 2>&1 && grep -q "$expected" "$work/refused.log" && echo "refused: $expected"; }
checked() { e2fsck -fn "$1" 2>&1 | tail -n 1 | sed 's/.*: //'; e2fsck -fn "$1" >/dev/null 2>&1; }

# ---- the machine ------------------------------------------------------------------------------------------------

make_images() {
	mke2fs -q -t ext4 -L tree -d /usr/include "$work/tree.raw" 1G
	b2sum <"$work/tree.raw" >"$work/tree.sum"
	truncate -s 1G "$work/disk.raw"
	qemu-img create -q -f qcow2 "$work/disk.qcow2" 1G
	qemu_nbd_start "$work/disk.qcow2" qcow2
	echo "$(find /usr/include -type f | wc -l) files of /usr/include"
}

make_machine() {
	grantiod_start
	"$grantio" model create --domid 1 --name guest-1
	"$grantio" model create --domid 2 --name guest-2
	"$grantio" model create --domid 3 --memory 4M --name driver-domain
	"$grantio" disk attach 1 "$work/disk.raw" --vdev xvda
	"$grantio" disk attach 1 "$qemu_uri" --vdev xvdb
	"$grantio" disk attach 2 "$work/tree.raw" --vdev xvda --mode r
}

show_machine() {
	heading 'A machine: two guests, three disks, grantiod in domain 0'
	step 'make the images' '' make_images
	step 'start grantiod, create guests, attach disks' 'as xl does' make_machine
	printf '  guest 1  xvda  a raw file, 1 GiB, empty\n'
	printf '  guest 1  xvdb  a qcow2 image, 1 GiB, empty, by qemu-nbd\n'
	printf '  guest 2  xvda  a raw file, 1 GiB, read-only: ext4 with /usr/include in it\n'
}

# ---- real clients -----------------------------------------------------------------------------------------------

# fio leaves its state file where it runs.
fio_verify() {
	(cd "$work" && fio --name=verify --ioengine=nbd --uri="$nbd_uri" --rw=randrw --bsrange=4k-64k --iodepth=32 \
		--size=128M --verify=crc32c --verify_fatal=1 --do_verify=1 --output-format=terse --terse-version=3 \
		>fio.log)
	awk -F ';' '$5 == 0 && $6 > 0 && $47 > 0 { ok = 1
			printf "%d MiB read, %d MiB written, no error\n", $6 / 1024, $47 / 1024 }
		END { exit !ok }' "$work/fio.log"
}

show_clients() {
	heading "Real clients: nbdkit is the guest, its virtio driver grants every buffer, grantiod copies"
	guest_start 1 xvda
	step 'guest 1, raw: nbdcopy an ext4 image to the disk' "1 GiB" nbdcopy "$work/tree.raw" "$nbd_uri"
	step '              nbdcopy it back, compare' '' copy_back
	step '              e2fsck what arrived in the file' '' checked "$work/disk.raw"
	step '              fio, 32 deep, crc32c verify' '' fio_verify
	guest_stop
	guest_start 1 xvdb
	step 'guest 1, qcow2: qemu-img convert to the disk' '1 GiB' qemu-img convert -n -f raw -O raw "$work/tree.raw" \
		"$nbd_uri"
	step '              qemu-img compare' '' qemu-img compare -f raw -F raw "$nbd_uri" "$work/tree.raw"
	guest_stop
	guest_start 2 xvda
	step 'guest 2, read-only: nbdcopy it, compare' '' copy_back
	expected='read-only' step '              nbdcopy to it' '' refuses nbdcopy "$work/tree.raw" "$nbd_uri"
	guest_stop
}

copy_back() {
	rm -f "$work/copy.raw"
	nbdcopy "$nbd_uri" "$work/copy.raw"
	b2sum <"$work/copy.raw" | cmp - "$work/tree.sum"
	rm "$work/copy.raw"
	echo "the same BLAKE2 sum: $(cut -c 1-16 "$work/tree.sum")..."
}

# ---- what it costs ----------------------------------------------------------------------------------------------

value() { grep -o "\"$1\":[0-9.]*" "$work/bench.json" | head -n 1 | cut -d : -f 2; }

bench() { # NAME OPTION...
	local name=$1
	shift
	"$grantio" bench --domid 1 --disk xvda --time 2s --json --control "$work/control" "$@" >"$work/bench.json" \
		2>"$work/step.log" || {
		cat "$work/step.log" >&2
		exit 1
	}
	printf '  %-24s %8.0f %9.1f %9.1f %8.3f %8.3f %8.3f %8.3f %8.3f\n' "$name" "$(value iops)" "$(value median)" \
		"$(value p99)" "$(value hypercalls)" "$(value syscalls)" "$(value grant_copy_calls)" "$(value kicks)" \
		"$(value interrupts)"
}

show_costs() {
	heading 'What it costs: grantio bench on guest 1, xvda (calls, kicks and interrupts are per request)'
	printf '  %-24s %8s %9s %9s %8s %8s %8s %8s %8s\n' '' '' median p99 hyper- system copy '' inter-
	printf '  %-24s %8s %9s %9s %8s %8s %8s %8s %8s\n' '' IOPS us us calls calls calls kicks rupts
	bench 'read 4 KiB, depth 1' --bs 4K --depth 1
	bench 'read 4 KiB, depth 32' --bs 4K --depth 32
	bench 'write 4 KiB, depth 32' --bs 4K --depth 32 --rw randwrite
	bench 'read 64 KiB, depth 32' --bs 64K --depth 32
}

# ---- a hostile backend ------------------------------------------------------------------------------------------

steal() { as_domain "$thief" "$build/tests/hostile/steal" "$@" 2>/dev/null || [ $? = 1 ]; }

# An attempt whose outcome must begin with EXPECTED.
attempt() { # WHAT EXPECTED STEAL-ARGUMENT...
	local what=$1 expected=$2 outcome color=$green
	shift 2
	outcome=$(steal "$@")
	[[ $outcome == "$expected"* ]] || color=$red
	printf '  %-50s %s%s%s\n' "$what" "$color" "$outcome" "$plain"
	[[ $outcome == "$expected"* ]] || { echo "  expected: $expected" >&2; exit 1; }
}

tell_guest() { # COMMAND ANSWER
	local answer
	echo "$1" >&"${LENDER[1]}"
	read -r -t 60 answer <&"${LENDER[0]}"
	[ "$answer" = "$2" ] || { echo "the guest says: $answer, expected: $2" >&2; exit 1; }
}

# A guest's own backend, honest or not, reaches what is granted at the moment.
show_idle() {
	thief=0
	guest_start 1 xvda
	nbdinfo --size "$nbd_uri" >/dev/null
	printf '\n  guest 1 has 16384 pages. Its disk is open and idle: its backend can read %s\n' "$(readable)"
	guest_stop
	printf '  Its disk is closed:                                its backend can read %s\n' "$(readable)"
}

readable() { steal scan 1 32768 | sed 's/ of .*/ of them/'; }

show_hostile() {
	local lent ref frame kept
	heading 'The point of it all: a hostile backend in driver domain 3 wants more of guest 2 than it was lent'
	coproc LENDER { "$build/tests/hostile/lend" "$machine" 2 3; }
	read -r -t 60 lent ref frame <&"${LENDER[0]}"
	read -r -t 60 lent kept <&"${LENDER[0]}"
	thief=3
	attempt "reads reference $ref, lent to it read-only:" 'read: "what the guest lends"' read 2 "$ref"
	attempt "writes to it:" 'refused: GNTST_' write 2 "$ref"
	attempt "maps it for writing:" 'refused: ' map 2 "$ref"
	attempt "reads reference $((ref + 1)), never granted:" 'refused: GNTST_' read 2 $((ref + 1))
	attempt "reads reference 99999, beyond the table:" 'refused: GNTST_' read 2 99999
	attempt "maps the guest's next page without a grant:" 'refused: ' frame 2 "$kept"
	thief=0
	attempt "domain 0 reads what was lent to domain 3:" 'refused: GNTST_' read 2 "$ref"
	thief=3
	tell_guest end ended
	attempt "the guest ends the grant; reads it again:" 'refused: GNTST_' read 2 "$ref"
	tell_guest look unchanged
	printf '  the page of guest 2 (frame %s) is as it was\n' "$frame"
}

# ---- all of it --------------------------------------------------------------------------------------------------

show_end() {
	local left
	grantiod_stop
	qemu_nbd_stop
	left=$("$grantio" model stats | awk \
		'/^(grants_active|mappings_held|ioreq_servers)/ { for (i = 2; i <= NF; i++) n += $i } END { print n }')
	[ "$left" = 0 ] || { "$grantio" model stats >&2; exit 1; }
	qemu-img check -q "$work/disk.qcow2"
	printf '\nAll of it went well; nothing is left granted, mapped or served. (%d s)\n' "$SECONDS"
}

machine_open "$1"
show_machine
show_clients
show_costs
show_hostile
show_idle
show_end
