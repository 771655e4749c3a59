# SPDX-License-Identifier: MIT
# Labs: x86 arm64
# A guest with two vCPUs has two disks, one of them read-only: writes to that one fail in the guest and change nothing.
scenario() {
	local rw ro before
	rw=$(image rw.raw 8)
	ro=$(image ro.raw 4)
	dd if=/dev/urandom of="$ro" bs=1M count=4 conv=notrunc 2>/dev/null
	before=$(sha256sum "$ro" | cut -d' ' -f1)
	grantiod_start || return 1
	guest_create g1 two-disks "vcpus=2" \
		"disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$rw','$DISK_SPEC,access=ro,vdev=xvdb,target=$ro']" ||
		return 1
	guest_finish g1 60 || return 1
	guest_log_has g1 "vdb $before" || { fail "the guest read something else than the read-only image"; return 1; }
	[ "$(sha256sum "$ro" | cut -d' ' -f1)" = "$before" ] || { fail "the read-only image changed"; return 1; }
	guest_log_has g1 "vda $(sha256sum "$rw" | cut -d' ' -f1)" || fail "the image is not what the guest wrote"
}
