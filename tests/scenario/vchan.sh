#!/bin/bash
# SPDX-License-Identifier: MIT
# Programs that use libxenvchan run on the model: they share pages (gntshr), and are told when the other end goes.
# Prints TAP. Usage: vchan.sh BUILD_DIR
set -uo pipefail
. "$(dirname "$0")/../host/machine.sh"
. "$(dirname "$0")/../host/tap.sh"

# No sanitizer's leak check: what libxenvchan and libxenstore leave is theirs.
vchan() {
	ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 as_domain "$1" timeout -k 5 120 "$build/tests/scenario/vchan" "${@:2}"
}

server_start() { # DOMID PEER
	local store=$machine/store
	[ "$1" = 0 ] || store=$machine/store.$1
	rm -f "$work/up"
	mkfifo "$work/up"
	# Not by as_domain: it is to be killed, and not a shell that waits for it.
	GRANTIO_DOMID=$1 XENSTORED_PATH=$store LD_PRELOAD=$model ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 \
		"$build/tests/scenario/vchan" server "$2" "$path" >"$work/up" &
	server_pid=$!
	read -r -t 60 line <"$work/up" && [ "$line" = ready ]
}

between() { # SERVER CLIENT
	path=/local/domain/$1/data/vchan
	server_start "$1" "$2" && vchan "$2" client "$1" "$path" && wait "$server_pid"
}

# The client is told by the channel's page and event: the server's process could not say anything.
server_killed() {
	path=/local/domain/1/data/vchan
	server_start 1 2 || return 1
	mkfifo "$work/same"
	vchan 2 client 1 "$path" wait >"$work/same" &
	local client=$! line
	read -r -t 60 line <"$work/same" && [ "$line" = same ] || return 1
	kill -KILL "$server_pid"
	wait "$server_pid" 2>/dev/null
	wait "$client"
}

nothing_left() {
	"$grantio" model stats --json >"$work/stats" || return 1
	cat "$work/stats"
	! grep -qE '"(grants_active|mappings_held|ports)": [1-9]' "$work/stats"
}

machine_open "$1"
"$grantio" model create --domid 1 >/dev/null
"$grantio" model create --domid 2 >/dev/null

check 'a guest serves another guest' between 1 2
check 'a guest serves domain 0' between 1 0
check 'domain 0 serves a guest' between 0 2
check 'a server is killed, and its client is told' server_killed
check 'the next one works' between 1 2
check 'nothing is left mapped' nothing_left
checks_end
