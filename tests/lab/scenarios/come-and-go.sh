# SPDX-License-Identifier: MIT
# Labs: x86 arm64
# Guests are destroyed in the middle of I/O and created again, reboot, and shut down: nothing of theirs is left.
scenario() {
	local disk round
	disk=$(image a.raw 8)
	grantiod_start || return 1
	for round in 1 2 3; do
		guest_create g1 busy "disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$disk']" || return 1
		wait_until 40 guest_log_has g1 'GUEST busy' || { fail "round $round: no I/O"; guest_tail g1; return 1; }
		xl destroy g1 || { fail "round $round: xl destroy"; return 1; }
		wait_until 10 no_guests || { fail "round $round: a zombie stays"; return 1; }
	done
	GUEST_EXTRA=end=reboot guest_create g1 copy "disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$disk']" 'on_reboot="restart"' || return 1
	wait_until 60 guest_said_twice g1 || { fail "the guest did not come back"; guest_tail g1; return 1; }
	xl destroy g1
	wait_until 10 no_guests || { fail "a zombie stays after reboot"; return 1; }
	wait_until 10 fds_back || { fail "descriptors left: $(ls "/proc/$GRANTIOD/fd" | wc -l), at first $FDS"; return 1; }
	no_foreign_grants || fail "grants are still mapped"
}
guest_said_twice() { [ "$(grep -c 'GUEST ok' "$GUEST_LOG/guest-$1.log")" -ge 2 ]; }
fds_back() { [ "$(ls "/proc/$GRANTIOD/fd" | wc -l)" -le "$FDS" ]; }
