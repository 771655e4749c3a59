# SPDX-License-Identifier: MIT
# Labs: x86 arm64
# Two guests at once, one of them created before grantiod runs; a disk that cannot be served disturbs neither.
scenario() {
	local a b
	a=$(image a.raw 4)
	b=$(image b.raw 4)
	guest_create g1 copy "disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$a']" &
	early=$!
	wait_until 10 xenstore-exists /local/domain/0/backend/virtio_disk || { fail "xl wrote no disk"; return 1; }
	grantiod_start || return 1
	wait $early || { fail "xl gave up on a guest that was there before grantiod"; return 1; }
	guest_create g2 copy "disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$b']" || return 1
	guest_finish g1 90 && guest_finish g2 90 || return 1
	guest_log_has g1 "after $(sha256sum "$a" | cut -d' ' -f1)" ||
		{ fail "g1's image is not what it wrote"; return 1; }
	guest_log_has g2 "after $(sha256sum "$b" | cut -d' ' -f1)" || fail "g2's image is not what it wrote"
}
