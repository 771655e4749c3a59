# SPDX-License-Identifier: MIT
# Labs: x86
# Dom0: systemd
# grantiod as Debian's systemd runs it, confined as its unit says: started at boot between Xen's daemons and xendomains,
# it serves a guest two disks, an image file and a block device, and the guest does not notice that it is killed, nor
# that it is restarted; its lines are in the journal, with their priorities.
unit() { systemctl show -P "$1" grantiod.service; }
unit_is() { [ "$(unit "$1")" = "$2" ]; } # PROPERTY VALUE
unit_must() {
	wait_until 30 unit_is "$1" "$2" || {
		systemctl -n 5 --no-pager status grantiod.service >"$RUN/status"
		fail "grantiod.service has $1=$(unit "$1"), not $2: $(tr '\n' ';' <"$RUN/status")"
		return 1
	}
}
at() { systemctl show -P "$2" "$1"; } # UNIT PROPERTY
# logged PRIORITY TEXT: lines of that very priority.
logged() { journalctl -q -u grantiod.service -p "$1..$1" -o cat | grep -q "$2"; }
logged_must() { wait_until 10 logged "$@" || fail "the journal has no '$2' of priority $1"; }
running() { unit_must ActiveState active && GRANTIOD=$(unit MainPID); }

booted() {
	local up ready begun store
	running && unit_must NRestarts 0 || return 1
	FDS=$(count_fds) MAPS=$(count_maps)
	up=$(at xen.service ActiveEnterTimestampMonotonic) ready=$(at grantiod.service ActiveEnterTimestampMonotonic)
	[ "$up" -gt 0 ] && [ "$up" -le "$(at grantiod.service ExecMainStartTimestampMonotonic)" ] ||
		{ fail "grantiod did not wait for xen.service ($up)"; return 1; }
	[ "$ready" -le "$(at xendomains.service InactiveExitTimestampMonotonic)" ] ||
		{ fail "xendomains.service did not wait for grantiod"; return 1; }
	logged_must 5 '^ready$' || return 1
	begun=$(at grantiod.service ExecMainStartTimestampMonotonic)
	store=$(basename "$(readlink /proc/"$(cat /run/xenstore.pid)"/exe)")
	say "systemd $(systemctl --version | sed -n 's/^systemd \([0-9]*\).*/\1/p') and $store; grantiod ready at" \
		"$((ready / 1000)) ms, $(((ready - begun) / 1000)) ms after its start"
}

# What the unit says is in force: its powers, its system calls, its devices.
confined() {
	local word cgroup
	for word in 'CapBnd:.*0000000000004002' 'CapEff:.*0000000000004002' 'NoNewPrivs:.*1' 'Seccomp:.*2'; do
		grep -q "^$word" "/proc/$GRANTIOD/status" || {
			grep -e ^Cap -e ^NoNew -e ^Secc "/proc/$GRANTIOD/status" >"$RUN/powers"
			fail "no '$word' in its status: $(tr '\n' ';' <"$RUN/powers")"
			return 1
		}
	done
	cgroup=/sys/fs/cgroup$(unit ControlGroup)
	reads_device "$cgroup" /dev/xen/xenbus || { fail "its cgroup may not open /dev/xen/xenbus"; return 1; }
	dd if=/dev/kmsg bs=1 count=0 2>/dev/null || { fail "nobody can open /dev/kmsg"; return 1; }
	! reads_device "$cgroup" /dev/kmsg || { fail "its cgroup may open /dev/kmsg"; return 1; }
	systemd-analyze verify --man=no grantiod.service >"$RUN/verify" 2>&1 ||
		{ fail "systemd-analyze verify: $(tr '\n' ';' <"$RUN/verify")"; return 1; }
	! grep grantiod "$RUN/verify" || return 1
	say "$(systemd-analyze security --no-pager grantiod.service | tail -n 1 | sed 's/[^ -~]//g')"
	systemd-analyze security --no-pager --threshold=30 grantiod.service >/dev/null ||
		fail "its exposure is more than 3.0"
}
reads_device() { sh -c 'echo $$ >"$1/cgroup.procs" && dd if="$2" bs=1 count=0 2>/dev/null' sh "$@"; }

# round NUMBER: the guest is told to do it, has done it, and dom0 sees what it saw.
round() {
	local written constant
	[ "$1" = 1 ] || echo go >"$(xenstore-read "/local/domain/$(guest_domid g1)/console/tty")"
	wait_until 90 guest_log_has g1 "GUEST round $1:" ||
		{ fail "the guest does not come to round $1"; guest_tail g1; return 1; }
	written=$(sha256sum "$disk" | cut -d' ' -f1) constant=$(sha256sum "$RUN/b.raw" | cut -d' ' -f1)
	guest_log_has g1 "GUEST round $1: written $written constant $constant" ||
		{ fail "round $1: dom0 sees other disks than the guest"; guest_tail g1; return 1; }
}

scenario() {
	local disk loop status=0
	booted && confined || return 1
	disk=$(image a.raw 2)
	dd if=/dev/urandom of="$RUN/b.raw" bs=1M count=1 2>/dev/null
	loop=$(losetup -f) && losetup "$loop" "$RUN/b.raw" || { fail "no loop device"; return 1; }
	under_guest && alone || { status=1; journalctl -q -b --no-pager -u grantiod.service | tail -n 25 |
		sed 's/^/LAB journal: /'; }
	GRANTIOD=
	losetup -d "$loop"
	return $status
}

under_guest() {
	local pid=$GRANTIOD
	GUEST_EXTRA=end=stay guest_create g1 served \
		"disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$disk','$DISK_SPEC,access=ro,vdev=xvdb,target=$loop']" &&
		round 1 || return 1
	grantio doctor >"$RUN/doctor" 2>&1 || { fail "doctor: $(grep -v '^ok' "$RUN/doctor" | tr '\n' ';')"; return 1; }
	systemctl kill -s KILL grantiod.service || { fail "systemctl kill"; return 1; }
	unit_must NRestarts 1 && running && [ "$GRANTIOD" != "$pid" ] && round 2 && goes_on 2 || return 1
	# As grantiod(8) says: one directory of images, no network.
	mkdir -p /run/systemd/system/grantiod.service.d
	printf '%s\n' '[Service]' ProtectSystem=strict ProtectHome=yes PrivateTmp=yes PrivateNetwork=yes \
		"ReadWritePaths=$RUN" >/run/systemd/system/grantiod.service.d/strict.conf
	systemctl daemon-reload && systemctl restart grantiod.service || { fail "systemctl restart"; return 1; }
	logged_must 5 '^SIGTERM: stopping$' && running && round 3 && goes_on 4 && guest_finish g1 30 || return 1
	xl destroy g1 && no_leaks
}

goes_on() { # DISKS: so many times so far
	local count
	count=$(journalctl -q -u grantiod.service -p 5..5 -o cat | grep -c 'going on where a former grantiod ended')
	[ "$count" = "$1" ] || fail "the journal has $count disks that went on, not $1"
}

alone() {
	rm -r /run/systemd/system/grantiod.service.d
	systemctl daemon-reload && systemctl reload grantiod.service &&
		logged_must 5 '^SIGHUP: reading the settings, and looking at all images again$' || return 1
	systemctl stop grantiod.service && unit_must ActiveState inactive && unit_must Result success || return 1
	[ "$(ls /run/grantiod)" = lock ] || {
		fail "in /run/grantiod is left: $(ls /run/grantiod | tr '\n' ' ')"
		return 1
	}
	# What does not go away by itself is not tried again.
	echo 'queues = none' >>/etc/grantio/grantiod.conf
	! systemctl start grantiod.service 2>/dev/null || { fail "it takes a wrong setting"; return 1; }
	unit_must ActiveState failed && unit_must ExecMainStatus 2 && unit_must NRestarts 0 &&
		logged_must 3 "grantiod.conf:[0-9]*: queues 'none': " || return 1
	sed -i '$d' /etc/grantio/grantiod.conf
	systemctl start grantiod.service && running && unit_must NRestarts 0
}
