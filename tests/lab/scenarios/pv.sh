# SPDX-License-Identifier: MIT
# Labs: x86
# A PV guest, none of whose accesses could reach a register, reads and writes a disk by messages.
scenario() {
	local disk
	disk=$(image a.raw 8)
	dd if=/dev/urandom of="$disk" bs=1M count=8 conv=notrunc 2>/dev/null
	before=$(sha256sum "$disk" | cut -d' ' -f1)
	grantiod_start || return 1
	guest_create g1 copy 'type="pv"' "disk=['$DISK_SPEC,vdev=xvda,target=$disk']" || return 1
	guest_finish g1 60 || return 1
	guest_log_has g1 "before $before" || { fail "the guest read something else than the image"; return 1; }
	guest_log_has g1 "after $(sha256sum "$disk" | cut -d' ' -f1)" || fail "the image is not what the guest wrote"
}
