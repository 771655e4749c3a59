# SPDX-License-Identifier: MIT
# What a scenario may use; it runs in dom0's busybox sh. A scenario is a file scenarios/NAME.sh with a function `scenario`;
# it passes if that returns 0. Every wait has a limit. Output that starts with "LAB" is what the host reads.

RUN=/run/scenario
GUEST_LOG=/var/log/xen/console

say() { echo "LAB note $SCENARIO: $*"; }
fail() { say "$*"; return 1; }

# wait_until SECONDS COMMAND...: poll it ten times a second.
wait_until() {
	local tries=$(($1 * 10))
	shift
	while ! "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		sleep 0.1
	done
}

# image NAME MEGABYTES: a sparse raw image; prints its path.
image() { truncate_file "$RUN/$1" "$2"; echo "$RUN/$1"; }
truncate_file() { dd if=/dev/zero of="$1" bs=1M count=0 seek="$2" 2>/dev/null; }

grantiod_start() {
	grantiod --control "$RUN/control" "$@" 2>"$RUN/grantiod.log" &
	GRANTIOD=$!
	wait_until 10 grep -q ready "$RUN/grantiod.log" || { fail "grantiod is not ready"; return 1; }
	FDS=$(ls "/proc/$GRANTIOD/fd" | wc -l)
}
grantiod_stop() {
	[ -n "$GRANTIOD" ] || return 0
	kill "$GRANTIOD" 2>/dev/null
	wait_until 10 grantiod_gone || { kill -9 "$GRANTIOD"; fail "grantiod did not stop"; }
	GRANTIOD=
}
grantiod_gone() { ! kill -0 "$GRANTIOD" 2>/dev/null; }

# The guest's kernel is $GUEST_KERNEL, one of lab_guest_kernels; a scenario may set it.
# guest_create NAME SCRIPT [xl configuration lines]...: start a guest that runs /guest/SCRIPT.sh.
guest_create() {
	local name=$1 script=$2 line
	shift 2
	{
		printf 'name="%s"\n' "$name"
		cat "/lab/guest-$GUEST_KERNEL.cfg"
		printf 'extra="console=hvc0 earlyprintk=xen loglevel=4 panic=1 rdinit=/init lab=%s %s"\n' "$script" "$GUEST_ARGS $GUEST_EXTRA"
		for line; do printf '%s\n' "$line"; done
	} >"$RUN/$name.cfg"
	: >"$GUEST_LOG/guest-$name.log"
	xl create "$RUN/$name.cfg" >"$RUN/$name.xl" 2>&1 || { fail "xl create $name: $(tail -n 3 "$RUN/$name.xl")"; return 1; }
}
guest_domid() { xl domid "$1" 2>/dev/null; }

# guest_finish NAME SECONDS: wait until the guest has said how it went, and is gone.
guest_finish() {
	wait_until "$2" guest_log_has "$1" -e 'GUEST ok' -e 'GUEST failed' || { fail "guest $1 said nothing in $2 s"; guest_tail "$1"; return 1; }
	guest_log_has "$1" 'GUEST ok' || { fail "guest $1 failed"; guest_tail "$1"; return 1; }
}
guest_log_has() { local name=$1; shift; grep -q "$@" "$GUEST_LOG/guest-$name.log"; }
guest_tail() { tail -n 25 "$GUEST_LOG/guest-$1.log" | sed 's/^/LAB guest: /'; }
# no_leaks: all guests are gone, zombies too, and grantiod has no file of theirs.
no_leaks() {
	wait_until 20 no_domains || { fail "domains are left: $(xl list | tail -n +3 | tr '\n' ';')"; return 1; }
	wait_until 10 no_fds || { fail "grantiod has $(ls "/proc/$GRANTIOD/fd" | wc -l) open files, and had $FDS"; return 1; }
	no_foreign_grants || fail "grants are still mapped"
}
no_domains() { [ "$(xl list | wc -l)" = 2 ]; }
no_fds() { [ "$(ls "/proc/$GRANTIOD/fd" | wc -l)" -le "$FDS" ]; }
no_guests() { [ "$(xenstore-list /local/domain)" = 0 ]; }

# No entry of any domain's grant table is in use by another (pin counts of `xl debug-keys g`; dom0 itself grants nothing here).
no_foreign_grants() {
	xl dmesg -c >/dev/null
	xl debug-keys g
	! xl dmesg | grep -E '^\(XEN\) +\[ *0?x?[0-9a-f]+\]' | grep -q .
}

scenario_run() {
	SCENARIO=$1
	local start end status=0
	start=$(cut -d. -f1 /proc/uptime)
	rm -rf "$RUN"
	mkdir -p "$RUN"
	GRANTIOD= GUEST_EXTRA= GUEST_KERNEL=$GUEST_KERNEL_FIRST
	unset -f scenario
	. "/lab/scenarios/$1.sh"
	scenario || status=1
	for name in $(xl list 2>/dev/null | awk 'NR > 1 && $2 != 0 { print $1 }'); do xl destroy "$name" 2>/dev/null; done
	grantiod_stop || status=1
	end=$(cut -d. -f1 /proc/uptime)
	if [ $status = 0 ]; then echo "ok $1 $((end - start))" >/run/result; else
		[ -f "$RUN/grantiod.log" ] && tail -n 30 "$RUN/grantiod.log" | sed 's/^/LAB grantiod: /'
		echo "failed after $((end - start)) s" >/run/result
	fi
}

# scenario_hung NAME SECONDS: what there is to see of a scenario that takes too long, just before it is ended.
scenario_hung() {
	local log
	echo "LAB $1 is ended after $2 s"
	ps -o pid,ppid,stat,args | grep -v -e '\[' -e 'ps -o' | sed 's/^/LAB process: /'
	xl list | sed 's/^/LAB xl list: /'
	for log in "$GUEST_LOG"/guest-*.log; do tail -n 12 "$log" | sed "s/^/LAB $(basename "$log"): /"; done
	[ -f "$RUN/grantiod.log" ] && tail -n 30 "$RUN/grantiod.log" | sed 's/^/LAB grantiod: /'
	return 0
}
