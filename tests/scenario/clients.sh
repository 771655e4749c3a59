#!/bin/bash
# SPDX-License-Identifier: MIT
# Real clients on the whole path: NBD client, nbdkit plugin (guest, driver, grants), grantiod, image. Prints TAP.
# Usage: clients.sh BUILD_DIR
set -uo pipefail
. "$(dirname "$0")/../host/machine.sh"
. "$(dirname "$0")/../host/tap.sh"

setup() {
	mke2fs -q -t ext4 -d /usr/include "$work/tree.raw" 1G >/dev/null || return 1
	b2sum <"$work/tree.raw" >"$work/tree.sum"
	truncate -s 1G "$work/disk.raw"
	qemu-img create -q -f qcow2 "$work/disk.qcow2" 1G
	qemu_nbd_start "$work/disk.qcow2" qcow2
	grantiod_start
	for domid in 1 2 3; do
		"$grantio" model create --domid $domid
	done
	"$grantio" disk attach 1 "$work/disk.raw" --vdev xvda
	"$grantio" disk attach 1 "$qemu_uri" --vdev xvdb
	"$grantio" disk attach 2 "$work/tree.raw" --vdev xvda --mode r
}

# ---- clients ----------------------------------------------------------------------------------------------------

nbdinfo_tells() { # KEY VALUE ...
	nbdinfo --json "$nbd_uri" >"$work/info.json" || return 1
	cat "$work/info.json"
	while [ $# -gt 0 ]; do
		grep -q "\"$1\": $2,\?$" "$work/info.json" || { echo "$1 is not $2"; return 1; }
		shift 2
	done
}

copy_in() { timeout -k 5 120 nbdcopy "$work/tree.raw" "$nbd_uri" && nbdinfo --size "$nbd_uri"; }

copy_out() {
	rm -f "$work/copy.raw"
	timeout -k 5 120 nbdcopy "$nbd_uri" "$work/copy.raw" && b2sum <"$work/copy.raw" | cmp - "$work/tree.sum"
}

compare() { timeout -k 5 120 qemu-img compare -f raw -F raw "$nbd_uri" "$work/tree.raw"; }
convert() { timeout -k 5 120 qemu-img convert -n -f raw -O raw "$work/tree.raw" "$nbd_uri"; }
virtual_size() { qemu-img info --output=json "$nbd_uri" | grep '"virtual-size": 1073741824'; }

# Connections in parallel on one disk; fio leaves its state file where it runs.
fio_verify() {
	cd "$work" && timeout 120 fio --name=verify --ioengine=nbd --uri="$nbd_uri" --rw=randrw --bsrange=512-128k \
		--bs_unaligned=0 --blockalign=512 --iodepth=16 --numjobs=2 --offset_increment=256M --size=32M \
		--verify=crc32c --verify_fatal=1 --do_verify=1 --randseed=11
}

# qemu-io says what went wrong, and not always by its exit status.
io() {
	local status=0
	timeout -k 5 120 qemu-io -f raw "$@" "$nbd_uri" >"$work/io.log" 2>&1 || status=$?
	cat "$work/io.log"
	[ $status = 0 ] && ! grep -qi 'fail\|error\|mismatch' "$work/io.log"
}

# qemu-io's write -z and discard are NBD's write-zeroes and trim.
zero_and_trim() {
	io -c 'write -P 0xa5 0 64M' -c 'write -z 8M 8M' -c 'write -zu 16M 8M' -c flush || return 1
	io -c 'read -P 0xa5 0 8M' -c 'read -P 0 8M 16M' -c 'read -P 0xa5 24M 40M' || return 1
	local before after
	before=$(stat -c %b "$work/disk.raw")
	io -c 'discard 0 64M' -c flush || return 1
	after=$(stat -c %b "$work/disk.raw")
	echo "blocks: $before, then $after"
	[ "$after" -lt "$before" ] && io -c 'read -P 0 16M 8M'
}

fua() {
	io -c 'write -f -P 0x77 1M 64k' && io -c 'read -P 0x77 1M 64k' &&
		cmp -n 65536 -i 1048576:0 "$work/disk.raw" <(head -c 65536 /dev/zero | tr '\0' '\167')
}
odd_offsets() {
	io -c 'write -P 0x11 4k 12k' -c 'write -P 0x22 4608 1536' &&
		io -c 'read -P 0x11 4096 512' -c 'read -P 0x22 4608 1536' -c 'read -P 0x11 6144 512'
}
past_the_end() { io -c 'write -P 0x33 1073737728 4096' && io -c 'read -P 0x33 1073737728 4096'; }
write_refused() { ! io -c 'write 0 4k' && ! nbdcopy "$work/tree.raw" "$nbd_uri"; }
stop() { guest_stop; }

# ---- command lines ----------------------------------------------------------------------------------------------

plugin_says() { # TEXT ARGUMENT...
	local text=$1
	shift
	rm -f "$work/bad.sock"
	ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 LD_PRELOAD=$sanitizer one_line 1 "$text" nbdkit \
		-f -U "$work/bad.sock" "$plugin" "$@"
}

# As README has it: nbdkit with a command of its own, which would wait for ever for a child that has died behind its
# back.
run_says() { # TEXT ARGUMENT...
	local text=$1 status=0
	shift
	ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 LD_PRELOAD=$sanitizer timeout -k 5 60 \
		nbdkit -U - "$plugin" "$@" --run 'nbdinfo --size "$uri"' >"$work/run.out" 2>"$work/run.err" || status=$?
	cat "$work/run.out" "$work/run.err"
	[ $status = 1 ] && grep -q -- "$text" "$work/run.err"
}
run_serves() {
	ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 LD_PRELOAD=$sanitizer timeout -k 5 60 nbdkit -U - "$plugin" \
		machine="$machine" domid=1 disk=xvda --run 'nbdinfo --size "$uri"' | grep -qx 1073741824
}
run_as_taken_guest() { run_says 'cannot be its guest' machine="$machine" domid=1; }

# A guest on Arm, as those of the plugin, cannot be told to let go.
in_use_refused() {
	one_line 1 'in use by domain 1' "$grantio" disk detach 1 xvda --control "$work/control" &&
		"$grantio" disk list 1 --control "$work/control" | grep -q 'xvda .* yes  *uses it '
}
not_in_use() { "$grantio" disk list 1 --control "$work/control" | grep -q 'xvda .* yes  *- '; }

second_guest_refused() { plugin_says 'cannot be its guest' machine="$machine" domid=1; }

bench_says() { # TEXT ARGUMENT...
	local text=$1
	shift
	one_line 2 "$text" "$grantio" bench --domid 1 "$@"
}

# ---- bench ------------------------------------------------------------------------------------------------------

disk_stats_lines() {
	local served
	"$grantio" disk stats --control "$work/control" >"$work/stats" &&
		served=$(grep -cE '^d[0-9]+/xvd[a-z] phase=served .*requests=[0-9]+ .*copy_hypercalls=[0-9]+' \
			"$work/stats") &&
		[ "$served" = "$("$grantio" disk list --json | grep -c domid)" ]
}
bench() { "$grantio" bench --domid 1 --disk xvda --control "$work/control" "$@" 2>"$work/progress"; }
bench_verifies() {
	bench --rw randrw --requests 20000 --size 64M --verify --queues 2 | tee /dev/stderr |
		grep -q '^verified  *[1-9]'
}

bench_json() {
	bench --time 300ms --json >"$work/bench.json"
	cat "$work/bench.json"
	python3 - "$work/bench.json" <<-'PYTHON'
		import json, sys
		r = json.load(open(sys.argv[1]))
		p = r["per_request"]
		assert r["requests"] > 0 and r["reads"] == r["requests"] and r["bytes"] == 4096 * r["requests"]
		assert r["latency_us"]["min"] <= r["latency_us"]["median"] <= r["latency_us"]["max"]
		# The data once, and of the headers' page what lies between those of a batch: how much depends on the
		# machine.
		assert 0 < p["hypercalls"] and 4096 + 16 + 1 <= p["bytes_copied"] < 2 * 4096 and p["syscalls"] > 0
		assert r["requests_per_batch"] >= 1
	PYTHON
}

# SIGINT as by Ctrl-C: a shell without job control starts what is in the background with SIGINT ignored; env undoes
# that.
bench_interrupted() {
	local pid status=0
	env --default-signal=INT "$grantio" bench --domid 1 --disk xvda --time 60s >"$work/out" 2>"$work/err" &
	pid=$!
	# grantiod has heard of the guest's driver when a request was counted
	until "$grantio" model stats | awk '$1 == "ioreqs" { exit !($3 > '"$1"') }'; do
		kill -0 $pid || return 1
	done
	kill -INT $pid
	wait $pid || status=$?
	cat "$work/out" "$work/err"
	[ $status = 0 ] && grep -q interrupted "$work/out" && grep -q '^throughput' "$work/out"
}

ioreqs() { "$grantio" model stats | awk '$1 == "ioreqs" { print $3 }'; }

# ---- a backend that takes what it was not given -----------------------------------------------------------------

steal() { # EXPECTED STEAL-ARGUMENT...
	local expected=$1 outcome
	shift
	outcome=$(as_domain 3 "$build/tests/hostile/steal" "$@")
	echo "$* -> $outcome"
	[[ $outcome == "$expected"* ]]
}

tell_guest() { # COMMAND ANSWER
	local answer
	echo "$1" >&"${LENDER[1]}"
	read -r -t 60 answer <&"${LENDER[0]}" && [ "$answer" = "$2" ]
}

lend_start() {
	coproc LENDER { "$build/tests/hostile/lend" "$machine" 2 3 2>"$work/lend.log"; }
	lender=$LENDER_PID
	read -r -t 60 _ ref _ <&"${LENDER[0]}" && read -r -t 60 _ kept <&"${LENDER[0]}"
}

lend_stop() {
	eval "exec ${LENDER[1]}>&-"
	wait "$lender"
}

# ---- a backend that dies ----------------------------------------------------------------------------------------

restart() { grantiod_start && grantiod_says 'd2/xvda: serving' && grantiod_says 'd1/xvda: serving'; }

# As on Xen, its ioreq server stays, and nobody answers: the guest's patience ends it. What it finds first is a request
# that does not complete, or a status register of all ones, which nobody answers either.
backend_dies() {
	kill -KILL "$grantiod_pid"
	wait "$grantiod_pid"
	grantiod_pid=''
	timeout -k 5 120 qemu-io -f raw -c 'write 0 4M' "$nbd_uri" >"$work/io.log" 2>&1
	cat "$work/io.log" "$work/nbdkit.log"
	grep -q 'Input/output error' "$work/io.log" && grep -qE 'Connection timed out|Protocol error' "$work/nbdkit.log"
}

# ---- the end ----------------------------------------------------------------------------------------------------

nothing_left() {
	"$grantio" model stats
	"$grantio" model stats | awk '
		/^(grants_active|mappings_held|ioreq_servers)/ { for (i = 2; i <= NF; i++) n += $i }
		END { exit n != 0 }'
}

daemon_ends() { grantiod_stop; local status=$?; cat "$work/grantiod.log"; return $status; }
qcow2_is_sound() {
	qemu_nbd_stop && qemu-img check "$work/disk.qcow2" &&
		qemu-img compare -f qcow2 -F raw "$work/disk.qcow2" "$work/tree.raw"
}

machine_open "$1"
check 'a machine with two guests and three disks' setup

check 'guest 1, raw: the plugin starts' guest_start 1 xvda
check 'nbdinfo: size, blocks, capabilities' nbdinfo_tells export-size 1073741824 is_read_only false can_flush true \
	can_fua true can_trim true can_zero true can_multi_conn true block_size_minimum 512
check 'nbdcopy of an ext4 image to the disk' copy_in
check 'nbdcopy from the disk: the same checksum' copy_out
check 'qemu-img info' virtual_size
check 'qemu-img compare' compare
check 'e2fsck of the file behind the disk' e2fsck -fn "$work/disk.raw"
check 'fio with two jobs, crc32c verify' fio_verify
check 'write-zeroes and trim reach the image' zero_and_trim
check 'a write with FUA is in the file when it is answered' fua
check 'sectors that share a page' odd_offsets
check 'the last sectors' past_the_end
check 'a second program cannot be the same guest' second_guest_refused
check 'nor can nbdkit with a command, which ends' run_as_taken_guest
check 'a disk that the guest uses is not detached' in_use_refused
check 'the guest leaves its disk in order' stop
check 'the disk is not used any more' not_in_use

check 'guest 1, qcow2: the plugin starts' guest_start 1 xvdb
check 'qemu-img convert to the disk' convert
check 'qemu-img compare' compare
check 'the guest leaves its disk in order' stop

check 'guest 2, read-only: the plugin starts' guest_start 2 xvda
check 'nbdinfo: read-only' nbdinfo_tells is_read_only true can_trim false
check 'nbdcopy from the disk: the same checksum' copy_out
check 'writes are refused' write_refused
check 'the guest leaves its disk in order' stop

filter=blocksize check 'guest 1 with a ring of 8, through a block-size filter' guest_start 1 xvda queue_size=8
check 'requests of a few bytes' io -c 'write -P 0x44 8192 3' -c 'read -P 0x44 8192 3' -c 'write -P 0x55 8195 1' \
	-c 'read -P 0x44 8194 1'
check 'the guest leaves its disk in order' stop

check 'plugin: domid is missing' plugin_says 'domid=NUMBER is missing' machine="$machine"
check 'plugin: no such domain' plugin_says 'domid=9: no such domain' machine="$machine" domid=9
check 'plugin: no such disk' plugin_says 'domain 1 has no disk xvdz' machine="$machine" domid=1 disk=xvdz
check 'plugin: no such machine' plugin_says 'No such file or directory' machine="$work/nowhere" domid=1
check 'plugin: a ring that is no power of two' plugin_says 'queue_size=100: not a power of two' domid=1 queue_size=100
check 'plugin: a number out of range' plugin_says 'queues=17: not between 1 and 16' domid=1 queues=17
check 'plugin: an unknown parameter' plugin_says "unknown parameter 'speed'" domid=1 speed=11
check 'plugin: a name where a number is needed' plugin_says 'domid=web: must be the number' machine="$machine" domid=web
check 'plugin with a command: no such disk' run_says 'domain 1 has no disk xvdz' machine="$machine" domid=1 disk=xvdz
check 'plugin with a command: no such domain' run_says 'domid=9: no such domain' machine="$machine" domid=9
check 'plugin with a command: the disk' run_serves

check 'bench: what it wrote is there, on two queues' bench_verifies
check 'bench: JSON that adds up' bench_json
check 'bench: Ctrl-C ends it with the figures so far' bench_interrupted "$(ioreqs)"
check 'bench: a word that is no load' bench_says "option --rw 'sideways'" --rw sideways
check 'bench: more than the disk has' bench_says 'more than the disk' --disk xvda --size 2G
check 'bench: no such disk' one_line 1 'domain 1 has no disk xvdz' "$grantio" bench --domid 1 --disk xvdz
check 'bench: writing to a read-only disk' one_line 2 'the disk is read-only' "$grantio" bench --domid 2 --rw randwrite
check 'bench: no such control socket' one_line 1 'control socket' "$grantio" bench --domid 1 --disk xvda \
	--control "$work/nowhere"

check 'disk stats: a line for each disk' disk_stats_lines
check 'disk refresh: a disk that is served' "$grantio" disk refresh d1/xvda --control "$work/control"
check 'disk refresh: no such disk' one_line 1 "'d1/xvdz': no such device" "$grantio" disk refresh d1/xvdz \
	--control "$work/control"
check 'disk refresh: a name too long' one_line 2 "must be as" "$grantio" disk refresh "$(printf '%099d' 0)" \
	--control "$work/control"
check 'disk stats: no daemon there' one_line 1 "control socket '$work/nowhere': No such file" "$grantio" disk stats \
	--control "$work/nowhere"

check 'a guest lends a page' lend_start
check 'hostile backend: reads what it was lent' steal 'read: "what the guest lends"' read 2 "$ref"
check 'hostile backend: writing to it is refused' steal 'refused: GNTST_general_error' write 2 "$ref"
check 'hostile backend: mapping it for writing is refused' steal 'refused: ' map 2 "$ref"
check 'hostile backend: a reference that was not granted' steal 'refused: GNTST_general_error' read 2 $((ref + 1))
check 'hostile backend: a reference beyond the table' steal 'refused: GNTST_bad_gntref' read 2 99999
check 'hostile backend: a frame without a grant' steal 'refused: ' frame 2 "$kept"
check 'hostile backend: of all references, one' steal '1 of 32768 ' scan 2 32768
check 'the guest ends the grant' tell_guest end ended
check 'hostile backend: reading after the end' steal 'refused: GNTST_general_error' read 2 "$ref"
check 'hostile backend: mapping after the end' steal 'refused: ' map 2 "$ref"
check 'the page is as it was' tell_guest look unchanged
check 'the guest ends' lend_stop

check 'grantiod ends' daemon_ends
check 'nothing is granted, mapped or served' nothing_left
check 'grantiod starts again, and serves' restart
check 'guest 1, raw: the plugin starts' guest_start 1 xvda timeout=4
check 'a guest that comes after a restart: its disk works' io -c 'write -P 7 0 64k' -c 'read -P 7 0 64k'
check 'grantiod is killed: an error, in time' backend_dies
check 'the guest leaves its disk in order' stop
check 'the qcow2 image is sound, and the same' qcow2_is_sound
checks_end
