# SPDX-License-Identifier: MIT
# Labs: x86 arm64
# A guest reads and writes one disk; dom0 finds the same bytes in the image.
scenario() {
	local disk
	disk=$(image a.raw 8)
	dd if=/dev/urandom of="$disk" bs=1M count=8 conv=notrunc 2>/dev/null
	before=$(sha256sum "$disk" | cut -d' ' -f1)
	grantiod_start || return 1
	guest_create g1 copy "disk=['$DISK_SPEC,vdev=xvda,target=$disk']" || return 1
	guest_finish g1 60 || return 1
	guest_log_has g1 "before $before" || { fail "the guest read something else than the image"; return 1; }
	guest_log_has g1 "after $(sha256sum "$disk" | cut -d' ' -f1)" || fail "the image is not what the guest wrote"
}
