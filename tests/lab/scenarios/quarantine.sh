# SPDX-License-Identifier: MIT
# Labs: x86
# Somebody in the backend's domain maps what the guest grants, and keeps it: the guest's disk goes on, and what was held
# comes back when it is let go.
scenario() {
	local disk hold
	disk=$(image a.raw 8)
	grantiod_start || return 1
	guest_create g1 held "disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$disk']" || return 1
	wait_until 60 guest_log_has g1 'GUEST busy' || { fail "the guest is not busy"; guest_tail g1; return 1; }
	hold "$(guest_domid g1)" 1024 40 >"$RUN/hold" &
	hold=$!
	wait_until 60 guest_log_has g1 'GUEST quarantined' || { kill $hold; fail "nothing went to quarantine"; guest_tail g1; return 1; }
	wait_until 30 guest_log_has g1 'GUEST went on' || { kill $hold; fail "the disk did not go on"; guest_tail g1; return 1; }
	kill $hold
	wait $hold
	say "$(cat "$RUN/hold") of the guest's pages, for a while"
	guest_finish g1 60 || return 1
}
