# SPDX-License-Identifier: MIT
# Labs: x86
# grantiod is stopped and started without guests, then killed and started under two guests. An idle guest's disk goes,
# comes back and works. A guest in the middle of I/O may hang until it is destroyed, and disturbs no other guest.
scenario() {
	local a b
	a=$(image a.raw 2)
	b=$(image b.raw 2)
	grantiod_start || return 1
	grantiod_stop || return 1
	grantiod_start || return 1
	guest_create g1 restart "disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$a']" || return 1
	GUEST_EXTRA=busy=1 guest_create g2 restart "disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$b']" || return 1
	wait_until 60 guest_log_has g1 'GUEST at work' || { fail "g1 has no disk"; guest_tail g1; return 1; }
	wait_until 60 guest_log_has g2 'GUEST at work' || { fail "g2 has no disk"; guest_tail g2; return 1; }
	kill -9 "$GRANTIOD"
	wait "$GRANTIOD"
	grantiod_start || return 1
	guest_finish g1 60 || return 1
	guest_log_has g1 "after $(sha256sum "$a" | cut -d' ' -f1)" ||
		{ fail "the image is not what g1 wrote"; return 1; }
	# Its driver waits for what is under way before it lets go of the disk, and Linux has no time limit there.
	guest_log_has g2 'GUEST after' && say "the disk in the middle of I/O came back as well"
	guest_domid g2 >/dev/null || return 0
	guest_destroy g2 || fail "xl destroy g2"
}
