# SPDX-License-Identifier: MIT
# Labs: x86
# The guest makes a file system on one disk and uses it; another disk is read-only. dom0 checks both.
scenario() {
	local rw ro before
	rw=$(image rw.raw 16)
	ro=$(image ro.raw 4)
	dd if=/dev/urandom of="$ro" bs=1M count=4 conv=notrunc 2>/dev/null
	before=$(sha256sum "$ro" | cut -d' ' -f1)
	grantiod_start || return 1
	guest_create g1 filesystem "$(disks_line "rw xvda $rw" "ro xvdb $ro")" || return 1
	guest_finish g1 90 || return 1
	guest_log_has g1 "readonly $before" || {
		fail "the guest read something else than the read-only image"
		return 1
	}
	[ "$(sha256sum "$ro" | cut -d' ' -f1)" = "$before" ] || { fail "the read-only image changed"; return 1; }
	e2fsck -fn "$rw" >"$RUN/fsck" 2>&1 || { fail "e2fsck: $(tail -n 1 "$RUN/fsck")"; return 1; }
	mount -o loop,ro "$rw" /mnt || { fail "cannot mount what the guest made"; return 1; }
	file=$(sha256sum /mnt/file | cut -d' ' -f1)
	umount /mnt
	guest_log_has g1 "file $file" || { fail "the file is not what the guest wrote"; return 1; }
}
