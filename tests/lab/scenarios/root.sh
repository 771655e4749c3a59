# SPDX-License-Identifier: MIT
# Labs: x86 arm64
# A guest's root file system is on a virtio disk: Debian's kernel, and an initramfs that initramfs-tools made with our
# hook.
scenario() {
	local disk
	disk=$RUN/root.raw
	cp /lab/root.raw "$disk"
	[ ! -f /lab/Image-stock ] || GUEST_KERNEL=stock # Debian's
	grantiod_start || return 1
	GUEST_EXTRA='root=/dev/vda' guest_create g1 none 'ramdisk="/lab/root-initrd.img"' \
		"disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$disk']" || return 1
	guest_finish g1 120 || return 1
	guest_log_has g1 'GUEST root is /dev/vda ext4' ||
		{ fail "its root is not on the disk"; guest_tail g1; return 1; }
	[ "$GUEST_KERNEL" != stock ] || guest_by_messages g1 1 || return 1
	wait_until 20 no_guests || { fail "the guest stays"; return 1; }
	e2fsck -fn "$disk" >"$RUN/fsck" 2>&1 || { fail "e2fsck: $(tail -n 1 "$RUN/fsck")"; return 1; }
	mount -o loop,ro "$disk" /mnt || { fail "cannot mount the guest's root"; return 1; }
	file=$(sha256sum /mnt/var/written | cut -d' ' -f1)
	umount /mnt
	guest_log_has g1 "written $file" || fail "the file is not what the guest wrote"
}
