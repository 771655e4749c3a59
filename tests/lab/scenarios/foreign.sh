# SPDX-License-Identifier: MIT
# Labs: arm64
# A disk without grants (grant_usage=0) is refused, unless the administrator allows it. Then the guest reads and writes
# this disk, and its other disk still works by grants.
scenario() {
	local a b before foreign disks
	a=$(image a.raw 8)
	b=$(image b.raw 2)
	dd if=/dev/urandom of="$b" bs=1M count=2 conv=notrunc 2>/dev/null
	before=$(sha256sum "$b" | cut -d' ' -f1)
	foreign=${DISK_SPEC%grant_usage=1}grant_usage=0

	grantiod_start || return 1
	disks="disk=['$foreign,access=rw,vdev=xvda,target=$a','$DISK_SPEC,access=ro,vdev=xvdb,target=$b']"
	# xl waits for the backend, 10 s, and gives up.
	if guest_create g1 two-disks "$disks" >/dev/null; then
		fail "grantiod serves a disk without grants, and nobody allowed it"; return 1
	fi
	grep -q "d[0-9]*/xvda: grant_usage '0': the guest grants nothing" "$RUN/grantiod.log" ||
		{ fail "grantiod does not say why"; return 1; }
	wait_until 20 no_domains || { fail "xl left the guest that it could not start"; return 1; }
	grantiod_stop || return 1

	grantiod_start --allow-foreign all || return 1
	guest_create g1 two-disks "$disks" || return 1
	guest_finish g1 90 || return 1
	grep -q 'xvda: .*serving without grants' "$RUN/grantiod.log" ||
		{ fail "grantiod does not say that it maps the guest's memory"; return 1; }
	grep -q 'xvdb: .*serving without grants' "$RUN/grantiod.log" &&
		{ fail "the disk with grants is not served by grants"; return 1; }
	guest_log_has g1 "vdb $before" || { fail "the guest read something else than the image by grants"; return 1; }
	guest_log_has g1 "vda $(sha256sum "$a" | cut -d' ' -f1)" ||
		{ fail "the image is not what the guest wrote"; return 1; }
}
