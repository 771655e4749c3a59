# SPDX-License-Identifier: MIT
# The initramfs that a Debian guest with its root file system on a virtio disk has: made by initramfs-tools itself, in a
# folder of unpacked packages, with our hook and with grantio.ko where DKMS installs it. Sourced by lab.sh. Needs root.

# What mkinitramfs and the hooks of its own packages run (ldd is a script for bash).
debian_packages() {
	echo initramfs-tools-core klibc-utils libklibc kmod libkmod2 udev libudev1 coreutils cpio bash dash libtinfo6 \
		sed grep mawk findutils util-linux libmount1 libblkid1 libsmartcols1 libuuid1 libselinux1 libpcre2-8-0 \
		libacl1 libattr1 libgmp10 libcrypt1 libc6 libc-bin libgcc-s1 libstdc++6 zstd libzstd1 liblzma5 \
		liblz4-1 zlib1g libcap2 logsave diffutils gzip debianutils dpkg libmd0 tar busybox-static
	case $LAB_SUITE in
	bookworm) echo libssl3 ;;
	trixie)
		echo libssl3t64 dracut-install initramfs-tools-bin libsystemd0 libsystemd-shared libseccomp2 libpam0g \
			libaudit1 libcap-ng0
		;;
	esac
}

# debian_run DIR SCRIPT: with DIR as the root. Another architecture's programs run in a machine of their own, on the
# lab's small kernel: that leaves the host as it is, where binfmt_misc would not, and is all real, where programs that
# translate system calls get some wrong.
debian_run() {
	local dir=$1 image=$LAB_BUILD/debian.img tree=$LAB_BUILD/debian-init
	printf '%s\n' "$2" >"$dir/tmp/run"
	[ "$LAB_DEBARCH" != "$(dpkg --print-architecture)" ] || { chroot "$dir" /bin/sh -eu /tmp/run; return; }
	initramfs_new "$tree" "$LAB_ROOT" || return 1
	cat >"$tree/init" <<-'INIT'
		#!/bin/sh
		export PATH=/bin:/usr/sbin:/usr/bin:/sbin
		mount -t devtmpfs dev /dev && mount -t ext4 /dev/vda /mnt &&
			mount -t proc proc /mnt/proc && mount -t devtmpfs dev /mnt/dev &&
			mount -t tmpfs run /mnt/run && chroot /mnt /bin/sh -eu /tmp/run && : >/mnt/tmp/done
		umount /mnt/dev /mnt/proc /mnt/run /mnt
		poweroff -f
	INIT
	chmod 755 "$tree/init" && mkdir -p "$dir/proc" "$dir/run" && rm -f "$dir/tmp/done" "$image" || return 1
	initramfs_pack "$tree" "$tree.cpio.gz" && mke2fs -q -F -t ext4 -d "$dir" "$image" 600m || return 1
	timeout 300 $(lab_plain_qemu) -kernel "$LAB_BUILD/Image" -initrd "$tree.cpio.gz" \
		-append "rdinit=/init panic=1" -display none -monitor none -serial none -no-reboot -nic none \
		-drive "if=none,file=$image,format=raw,id=d0,cache=unsafe" -device virtio-blk-device,drive=d0 ||
		return 1
	debugfs -R "stat /tmp/done" "$image" 2>/dev/null | grep -q '^Inode' ||
		{ echo "lab: what was to be run under Debian failed"; return 1; }
	debugfs -R "dump /tmp/out $dir/tmp/out" "$image" 2>/dev/null
	rm -f "$image"
}

# debian_merge DIR: a merged /usr, as every installed Debian has it.
debian_merge() {
	local dir=$1 name
	for name in bin sbin lib lib64; do
		[ -L "$dir/$name" ] && continue
		mkdir -p "$dir/usr/$name" "$dir/$name" && cp -a "$dir/$name/." "$dir/usr/$name/" &&
			rm -r "${dir:?}/$name" && ln -s "usr/$name" "$dir/$name" || return 1
	done
}

debian_unpack() { # DIR
	local dir=$1
	mkdir -p "$dir"/etc/initramfs-tools/conf.d "$dir"/dev "$dir"/boot "$dir"/tmp "$dir"/var/tmp
	apt_unpack "$LAB_APT" "$dir" $(debian_packages) || return 1
	debian_merge "$dir" || return 1
	ln -sf dash "$dir/usr/bin/sh"
	ln -sf mawk "$dir/usr/bin/awk"
	# Of the modules, what the root file system needs and what hooks ask for: all of them take a minute, and 30 MB.
	printf 'MODULES=list\nCOMPRESS=gzip\nCOMPRESSLEVEL=1\n' >"$dir/etc/initramfs-tools/conf.d/lab"
	echo ext4 >"$dir/etc/initramfs-tools/modules"
}

# debian_initramfs VERSION MODULE OUT: an initramfs for a kernel and its grantio.ko; made anew when what goes in has
# changed.
debian_initramfs() {
	local version=$1 module=$2 out=$3 dir key
	dir=$LAB_APT/debian-$(apt_key "$LAB_APT" $(debian_packages))
	key=$(cat "$LAB_DIR/lib/debian.sh" "$LAB_TOP/packaging/initramfs-tools/grantio" "$module" \
		"$LAB_ROOT/boot/config-$version" |
		sha256sum | cut -c1-16)
	[ -f "$out" ] && [ "$(cat "$out.key" 2>/dev/null)" = "$key" ] && return 0
	mkdir -p "$dir"
	(
		flock 9 || exit 1
		debian_unpack "$dir" || exit 1
		rm -rf "$dir/lib/modules"
		mkdir -p "$dir/lib/modules/$version/updates/dkms"
		cp -al "$LAB_ROOT/lib/modules/$version/kernel" "$dir/lib/modules/$version/"
		cp "$LAB_ROOT/lib/modules/$version"/modules.builtin* "$LAB_ROOT/lib/modules/$version/modules.order" \
			"$dir/lib/modules/$version/"
		cp "$module" "$dir/lib/modules/$version/updates/dkms/"
		cp "$LAB_ROOT/boot/config-$version" "$dir/boot/"
		install -m 755 "$LAB_TOP/packaging/initramfs-tools/grantio" \
			"$dir/usr/share/initramfs-tools/hooks/grantio"
		depmod -b "$dir" "$version" && debian_run "$dir" "mkinitramfs -o /tmp/out $version" &&
			mv "$dir/tmp/out" "$out"
	) 9>"$dir/.lock" || return 1
	echo "$key" >"$out.key"
}

# debian_root OUT: a small ext4 root file system: busybox, and an init that says where it runs.
debian_root() {
	local out=$1 tree=$LAB_BUILD/debian-root
	initramfs_new "$tree" "$LAB_ROOT" || return 1
	rm "$tree/sbin" && mkdir "$tree/sbin"
	cp "$LAB_DIR/guest/root-init" "$tree/sbin/init" && chmod 755 "$tree/sbin/init"
	rm -f "$out"
	mke2fs -q -F -t ext4 -L root -d "$tree" "$out" 8m
}
