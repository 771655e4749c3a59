# SPDX-License-Identifier: MIT
# Labs: arm64
# xl waits for a backend when it makes a guest and when a guest ends: by xl destroy in the middle of I/O, by a reboot,
# or by its own shutdown. xl's logs name the xenbus state that it waited for and got, and no time limit that ran out.
scenario() {
	grantiod_start || return 1
	guest_create g1 busy "$(disks g1)" || return 1
	got 2 "$RUN/g1.xl" || return 1
	wait_until 60 guest_log_has g1 'GUEST busy' || { fail "no I/O"; guest_tail g1; return 1; }
	guest_destroy g1 || { fail "xl destroy: $(tail -n 3 "$RUN/destroy.xl")"; return 1; }
	got 6 "$RUN/destroy.xl" || return 1
	GUEST_EXTRA="end=reboot times=2" guest_create g2 count "$(disks g2)" 'on_reboot="restart"' || return 1
	got 2 "$RUN/g2.xl" || return 1
	wait_until 90 guest_log_has g2 'GUEST round 2' ||
		{ fail "the guest did not come back"; guest_tail g2; return 1; }
	wait_until 60 no_domains || { fail "g2 stays"; return 1; }
	# Of the process that xl leaves to wait for the guest's end: a reboot and the end.
	got 2 "$GUEST_LOG/../xl-g2.log" && got 6 "$GUEST_LOG/../xl-g2.log" && no_waits
}
disks() { disks_line "rw xvda $(image "$1-a.raw" 8)" "ro xvdb $(image "$1-b.raw" 2)"; } # NAME
got() { # STATE LOG
	grep -q "backend .*/virtio_disk/.* wanted state $1 ok" "$2" || {
		fail "xl did not get state $1 of a disk: $(grep 'wanted state' "$2" | tail -n 3 | tr '\n' ';')"
		return 1
	}
	say "state $1, $(basename "$2"): $(grep -c "wanted state $1 ok" "$2") times"
}
