# SPDX-License-Identifier: MIT
# Labs: x86
# grantio.ko and virtio_blk are loaded and unloaded in any order, and their drivers are unbound and bound again, also in
# the middle of I/O; the disk comes and goes with them.
scenario() {
	local disk before
	disk=$(image a.raw 4)
	dd if=/dev/urandom of="$disk" bs=1M count=4 conv=notrunc 2>/dev/null
	before=$(sha256sum "$disk" | cut -d' ' -f1)
	grantiod_start || return 1
	guest_create g1 modules "disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$disk']" || return 1
	guest_finish g1 300 || return 1
	[ "$(grep -c "GUEST read $before" "$GUEST_LOG/guest-g1.log")" = 8 ] ||
		{ fail "the guest read something else than the image"; guest_tail g1; return 1; }
}
