# SPDX-License-Identifier: MIT
# Labs: x86 arm64
# Eight disks, one of them a block device, are read and written at the same time: each has its own content, before and
# after that.
scenario() {
	local n disks= target loop
	for n in 1 2 3 4 5 6 7 8; do
		target=$(image disk$n.raw 1)
		dd if=/dev/urandom of="$target" bs=64k count=16 conv=notrunc 2>/dev/null
		printf 'disk%d' $n | dd of="$target" conv=notrunc 2>/dev/null
		disk_said before $n >>"$RUN/before"
		if [ $n = 8 ]; then
			loop=$(losetup -f) && losetup "$loop" "$target" || { fail "no loop device"; return 1; }
			target=$loop
		fi
		disks="$disks'$DISK_SPEC,access=rw,vdev=xvd$(echo abcdefgh | cut -c$n),target=$target',"
	done
	eight_disks "$disks"
	n=$?
	losetup -d "$loop"
	return $n
}
eight_disks() { # DISKS
	local n
	grantiod_start || return 1
	guest_create g1 eight-disks vcpus=2 "disk=[$1]" || return 1
	guest_finish g1 120 || return 1
	[ "$GUEST_KERNEL" != stock ] || guest_by_messages g1 8 || return 1
	wait_until 20 no_guests || { fail "the guest stays"; return 1; }
	for n in 1 2 3 4 5 6 7 8; do
		guest_log_has g1 "$(grep "^disk$n " "$RUN/before")" ||
			{ fail "disk $n is not the one that the guest read"; guest_tail g1; return 1; }
		guest_log_has g1 "$(disk_said after $n)" ||
			{ fail "disk $n is not what the guest wrote"; guest_tail g1; return 1; }
	done
}
disk_said() { echo "disk$2 $1 $(sha256sum "$RUN/disk$2.raw" | cut -d' ' -f1)"; }
