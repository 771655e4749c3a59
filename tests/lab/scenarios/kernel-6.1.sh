# SPDX-License-Identifier: MIT
# Labs: x86
# Full: x86
# Debian 12's kernel as a guest: its disk, and the modules that come and go.
scenario() {
	local disk before
	GUEST_KERNEL=6.1
	disk=$(image a.raw 4)
	dd if=/dev/urandom of="$disk" bs=1M count=4 conv=notrunc 2>/dev/null
	before=$(sha256sum "$disk" | cut -d' ' -f1)
	grantiod_start || return 1
	guest_create g1 modules "disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$disk']" || return 1
	guest_finish g1 90 || return 1
	[ "$(grep -c "GUEST read $before" "$GUEST_LOG/guest-g1.log")" = 8 ] ||
		{ fail "the guest read something else than the image"; guest_tail g1; return 1; }
	guest_create g2 copy "disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$disk']" || return 1
	guest_finish g2 90 || return 1
	guest_log_has g2 "after $(sha256sum "$disk" | cut -d' ' -f1)" ||
		{ fail "the image is not what the guest wrote"; return 1; }
}
