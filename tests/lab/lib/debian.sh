# SPDX-License-Identifier: MIT
# The initramfs that a Debian guest with its root file system on a virtio disk has: made by initramfs-tools itself, in a
# folder of unpacked packages, with our hook and with grantio.ko where DKMS installs it. Sourced by lab.sh. Needs root (chroot).

# What mkinitramfs and the hooks of its own packages run (ldd is a script for bash).
DEBIAN_PACKAGES='initramfs-tools-core klibc-utils libklibc kmod libkmod2 udev libudev1 coreutils cpio bash dash libtinfo6 sed grep
mawk findutils util-linux libmount1 libblkid1 libsmartcols1 libuuid1 libselinux1 libpcre2-8-0 libacl1 libattr1 libgmp10 libcrypt1
libc6 libc-bin libgcc-s1 libstdc++6 zstd libzstd1 liblzma5 liblz4-1 zlib1g libssl3 libcap2 logsave diffutils gzip debianutils dpkg
libmd0 tar busybox-static'

# debian_merge DIR: a merged /usr, as every installed Debian 12 has it.
debian_merge() {
	local dir=$1 name
	for name in bin sbin lib lib64; do
		[ -L "$dir/$name" ] && continue
		mkdir -p "$dir/usr/$name" && cp -a "$dir/$name/." "$dir/usr/$name/" && rm -r "${dir:?}/$name" && ln -s "usr/$name" "$dir/$name" || return 1
	done
}

debian_unpack() { # DIR
	local dir=$1
	mkdir -p "$dir"/etc/initramfs-tools/conf.d "$dir"/dev "$dir"/boot "$dir"/tmp "$dir"/var/tmp
	apt_unpack "$LAB_APT" "$dir" $DEBIAN_PACKAGES || return 1
	debian_merge "$dir" || return 1
	ln -sf dash "$dir/usr/bin/sh"
	ln -sf mawk "$dir/usr/bin/awk"
	# Of the modules, what the root file system needs and what hooks ask for: all of them take a minute, and 30 MB.
	printf 'MODULES=list\nCOMPRESS=gzip\nCOMPRESSLEVEL=1\n' >"$dir/etc/initramfs-tools/conf.d/lab"
	echo ext4 >"$dir/etc/initramfs-tools/modules"
}

# debian_initramfs VERSION MODULE OUT: an initramfs for a kernel and its grantio.ko; made anew when what goes in has changed.
debian_initramfs() {
	local version=$1 module=$2 out=$3 dir=$LAB_CACHE/$arch/debian key
	key=$(cat "$LAB_DIR/lib/debian.sh" "$LAB_TOP/packaging/initramfs-tools/grantio" "$module" "$LAB_ROOT/boot/config-$version" |
		sha256sum | cut -c1-16)
	[ -f "$out" ] && [ "$(cat "$out.key" 2>/dev/null)" = "$key" ] && return 0
	mkdir -p "$dir"
	(
		flock 9 || exit 1
		debian_unpack "$dir" || exit 1
		rm -rf "$dir/lib/modules"
		mkdir -p "$dir/lib/modules/$version/updates/dkms"
		cp -al "$LAB_ROOT/lib/modules/$version/kernel" "$dir/lib/modules/$version/"
		cp "$LAB_ROOT/lib/modules/$version"/modules.builtin* "$LAB_ROOT/lib/modules/$version/modules.order" "$dir/lib/modules/$version/"
		cp "$module" "$dir/lib/modules/$version/updates/dkms/"
		cp "$LAB_ROOT/boot/config-$version" "$dir/boot/"
		install -m 755 "$LAB_TOP/packaging/initramfs-tools/grantio" "$dir/usr/share/initramfs-tools/hooks/grantio"
		chroot "$dir" /sbin/depmod "$version" && chroot "$dir" /usr/sbin/mkinitramfs -o /tmp/initrd.img "$version" || exit 1
		mv "$dir/tmp/initrd.img" "$out"
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
