# SPDX-License-Identifier: MIT
# Labs: arm64
# Debian's own kernel as a guest that is told to leave its disks to the device tree. It waits for the driver of its
# devices' "xen,grant-dma" node: grantio.ko is that.
# Two disks, one of them read-only, and a PV disk, on two vCPUs; drivers that come and go.
scenario() {
	local rw ro pv before loop
	GUEST_KERNEL=stock
	rw=$(image rw.raw 8)
	ro=$(image ro.raw 4)
	pv=$(image pv.raw 2)
	dd if=/dev/urandom of="$ro" bs=1M count=4 conv=notrunc 2>/dev/null
	before=$(sha256sum "$ro" | cut -d' ' -f1)
	loop=$(losetup -f) && losetup "$loop" "$pv" || { fail "no loop device"; return 1; }
	grantiod_start || return 1
	guest_create g1 stock "vcpus=2" \
		"$(disks_line "rw xvda $rw" "ro xvdb $ro" "pv xvdc $loop")" || return 1
	guest_finish g1 120 || return 1
	wait_until 20 no_guests || { fail "the guest stays"; return 1; }
	losetup -d "$loop"
	guest_log_has g1 "vdb $before" || { fail "the guest read something else than the read-only image"; return 1; }
	guest_log_has g1 "vda $(sha256sum "$rw" | cut -d' ' -f1)" ||
		{ fail "the image is not what the guest wrote"; return 1; }
	guest_log_has g1 "pv $(sha256sum "$pv" | cut -d' ' -f1)" ||
		{ fail "the PV image is not what the guest wrote"; return 1; }
	[ "$(grep -c 'GUEST read again' "$GUEST_LOG/guest-g1.log")" = 3 ] ||
		{ fail "the guest did not read three times"; return 1; }
}
