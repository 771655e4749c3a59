# SPDX-License-Identifier: MIT
# For bash scripts that run a whole machine: sourced by scripts/run.sh and by the scripts in tests/scenario.
#
# machine_open makes a temporary directory ($work) with a machine in it, and sees to it that all of it is gone when the
# script ends, however it ends. Only processes that were started here are ever signalled.

# machine_open BUILD_DIR
machine_open() {
	build=$(realpath "$1")
	grantio=$build/cli/grantio
	model=$build/model/libgrantio-model.so
	plugin=$build/nbdkit/nbdkit-grantio-plugin.so
	work=$(mktemp -d "${TMPDIR:-/tmp}/grantio.XXXXXX")
	grantiod_pid='' nbd_pid='' nbd_job='' qemu_pids=()
	trap machine_close EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	# a machine lives best in memory, if there is enough: /dev/shm is small in many containers
	local shm=/dev/shm
	[ "$(df --output=avail -k "$shm" 2>/dev/null | tail -n 1)" -gt 262144 ] 2>/dev/null || shm=$work
	machine=$(mktemp -d "$shm/grantio.XXXXXX")
	export GRANTIO_MACHINE=$machine
	# a preloaded library comes before a sanitizer's own, which it otherwise objects to
	export ASAN_OPTIONS=${ASAN_OPTIONS:-}:verify_asan_link_order=0
	sanitizer=$(ldd "$plugin" | awk '/libasan/ { print $3 }')
	[ -z "$sanitizer" ] || sanitizer="$sanitizer $build/tests/scenario/libfreelocale.so"
	"$grantio" model start >"$work/model.log"
}

# End a process that is no child of ours: by SIGTERM, and by SIGKILL after a minute, since qemu-nbd first writes what it
# has kept.
process_end() { # PID
	kill "$1" 2>/dev/null || return 0
	timeout 60 tail --pid="$1" -s 0.05 -f /dev/null || kill -KILL "$1" 2>/dev/null || true
}

machine_close() {
	local status=$? pid
	trap - EXIT
	trap '' INT TERM HUP
	for pid in $nbd_pid "${qemu_pids[@]}" $grantiod_pid; do
		process_end "$pid"
	done
	"$grantio" model stop --force >/dev/null 2>&1 || true
	rm -rf "$machine" "$work"
	exit $status
}

# Run a program that uses libxen* as domain DOMID's.
as_domain() { # DOMID COMMAND...
	local domid=$1 store=$machine/store
	shift
	[ "$domid" = 0 ] || store=$machine/store.$domid
	GRANTIO_DOMID=$domid XENSTORED_PATH=$store LD_PRELOAD=$model "$@"
}

# `grantio disk attach` waits until a backend is ready: nothing else needs to.
grantiod_start() { # OPTION...
	GRANTIO_DOMID=0 XENSTORED_PATH=$machine/store LD_PRELOAD=$model \
		"$build/backend/grantiod" --control "$work/control" "$@" 2>"$work/grantiod.log" &
	grantiod_pid=$!
}

# Wait until grantiod's log holds TEXT.
grantiod_says() { # TEXT
	timeout 60 bash -c 'grep -q -m 1 "$2" < <(exec tail -n +1 -f --pid=$$ -s 0.05 "$1")' bash "$work/grantiod.log" \
		"$1"
}

grantiod_stop() {
	kill "$grantiod_pid"
	wait "$grantiod_pid"
	grantiod_pid=''
}

# Serve a qcow2 image over NBD. Returns when clients can connect; $qemu_uri is its address.
qemu_nbd_start() { # IMAGE NAME
	qemu-nbd --fork --persistent --shared=0 --format=qcow2 --socket="$work/$2.sock" --pid-file="$work/$2.pid" "$1"
	qemu_pids+=("$(cat "$work/$2.pid")")
	qemu_uri="nbd+unix:///?socket=$work/$2.sock"
}

qemu_nbd_stop() {
	local pid
	for pid in "${qemu_pids[@]}"; do
		process_end "$pid"
	done
	qemu_pids=()
}

# Be a guest, and serve its disk over NBD: $nbd_uri. nbdkit writes its process id into a pipe once it can be connected
# to; it answers once the guest has its disk. $filter may name an nbdkit filter.
guest_start() { # DOMID DISK [PLUGIN PARAMETER...]
	local domid=$1 disk=$2 pipe=$work/nbdkit.up
	shift 2
	rm -f "$pipe" "$work/nbd.sock"
	mkfifo "$pipe"
	(
		trap - EXIT
		status=0
		ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 LD_PRELOAD=$sanitizer nbdkit -f -P "$pipe" \
			-U "$work/nbd.sock" ${filter:+--filter="$filter"} "$plugin" machine="$machine" domid="$domid" \
			disk="$disk" "$@" 2>>"$work/nbdkit.log" || status=$?
		echo ended 1<>"$pipe" # for who still waits
		exit $status
	) &
	nbd_job=$!
	read -r -t 60 nbd_pid <"$pipe" || nbd_pid=ended
	nbd_uri="nbd+unix:///?socket=$work/nbd.sock"
	if [ "$nbd_pid" != ended ]; then
		nbdinfo --size "$nbd_uri" >/dev/null && return
		process_end "$nbd_pid"
	fi
	nbd_pid=''
	tail -n 3 "$work/nbdkit.log" >&2
	return 1
}

# Fails when the guest did not leave its disk in order.
guest_stop() {
	local status=0
	kill "$nbd_pid"
	wait "$nbd_job" || status=$?
	nbd_pid=''
	grep 'not given back' "$work/nbdkit.log" >&2 && status=1
	return $status
}
