# SPDX-License-Identifier: MIT
# Labs: x86 arm64
# fio with verified checksums in the guest.
scenario() {
	local disk
	disk=$(image a.raw 8)
	grantiod_start || return 1
	GUEST_ADD=fio
	guest_create g1 fio "disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$disk']" || return 1
	guest_finish g1 120 || return 1
	guest_log_has g1 'GUEST fio.*WRITE:' || { fail "fio said nothing"; guest_tail g1; return 1; }
	say "$(grep -h 'GUEST fio' "$GUEST_LOG/guest-g1.log" | tr -d '\r' | sed 's/.*fio *//' | tr '\n' ';')"
}
