# SPDX-License-Identifier: MIT
# Labs: arm64
# grantio.ko on a kernel that has the layer itself (CONFIG_XEN_VIRTIO): it leaves the devices of the device tree to it.
scenario() {
	local rw ro
	rw=$(image rw.raw 8)
	ro=$(image ro.raw 1)
	dd if=/dev/urandom of="$ro" bs=1M count=1 conv=notrunc 2>/dev/null
	grantiod_start || return 1
	guest_create g1 stand-aside "$(disks_line "rw xvda $rw" "ro xvdb $ro")" || return 1
	guest_finish g1 60 || return 1
	[ "$(grep -c 'GUEST works' "$GUEST_LOG/guest-g1.log")" = 3 ] ||
		{ fail "the disk did not work three times"; return 1; }
	guest_log_has g1 "vdb $(sha256sum "$ro" | cut -d' ' -f1)" ||
		{ fail "the guest read something else than the read-only image"; return 1; }
	grep -a 'GUEST vda' "$GUEST_LOG/guest-g1.log" | tail -n 1 | grep -q "$(sha256sum "$rw" | cut -d' ' -f1)" ||
		{ fail "the image is not what the guest wrote"; return 1; }
	say "$(grep -a 'GUEST doctor: .*grants' "$GUEST_LOG/guest-g1.log" | tr -d '\r' | sed 's/GUEST doctor: *//')"
}
