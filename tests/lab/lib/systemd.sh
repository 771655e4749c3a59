# SPDX-License-Identifier: MIT
# dom0 as a Debian host has it: Debian's systemd is PID 1, Debian's init scripts start xenstored and the others, and
# grantiod lies where its package puts it, with the unit enabled. All of it is in the initial RAM disk. Sourced by
# lab.sh. Needs root (chroot).

systemd_packages() {
	echo systemd libsystemd-shared libsystemd0 libacl1 libaudit1 libblkid1 libc6 libcap2 libcap-ng0 libcrypt1 \
		libcryptsetup12 libfdisk1 libgcrypt20 libgpg-error0 libkmod2 kmod liblz4-1 liblzma5 libmount1 \
		libp11-kit0 libseccomp2 libselinux1 libpcre2-8-0 libzstd1 mount util-linux libsmartcols1 libuuid1 \
		libtinfo6 dash bash sysvinit-utils dpkg busybox-static xen-utils-$LAB_XEN xen-utils-common \
		xenstore-utils libpam0g libapparmor1 libip4tc2 libxenmisc$LAB_XEN libxencall1 libxendevicemodel1 \
		libxenevtchn1 libxenforeignmemory1 libxengnttab1 libxenhypfs1 libxenstore4 libxentoolcore1 \
		libxentoollog1 liburing2 libnbd0 libfdt1 libgcc-s1 libyajl2 zlib1g libbz2-1.0 liblzo2-2 libnl-3-200 \
		libnl-route-3-200 libxml2 libidn2-0 libtasn1-6 libgmp10 libffi8 libstdc++6
	case $LAB_SUITE in
	bookworm) echo libssl3 libgnutls30 libunistring2 libhogweed6 libnettle8 libicu72 ;;
	trixie) echo libssl3t64 libgnutls30t64 libunistring5 libhogweed6t64 libnettle8t64 libmd0 ;;
	esac
}

# What is not in the packages: their scripts would have made it, or base-files has it.
systemd_base() { # DIR
	local dir=$1 name level
	apt_unpack "$LAB_APT" "$dir" $(systemd_packages) && debian_merge "$dir" || return 1
	(cd "$dir" && rm -rf usr/share/doc usr/share/man usr/share/locale usr/share/bash-completion \
		usr/lib/x86_64-linux-gnu/gconv usr/lib/xen-$LAB_XEN/boot)
	mkdir -p "$dir"/dev "$dir"/proc "$dir"/sys "$dir"/run "$dir"/tmp "$dir"/root "$dir"/mnt \
		"$dir"/var/log/xen/console "$dir"/var/lib/xen "$dir"/var/tmp
	ln -sfn ../run "$dir/var/run" && ln -sfn ../run/lock "$dir/var/lock"
	ln -sf dash "$dir/usr/bin/sh"
	for name in $BUSYBOX_APPLETS; do
		[ -e "$dir/usr/bin/$name" ] || [ -e "$dir/usr/sbin/$name" ] || ln -s busybox "$dir/usr/bin/$name"
	done
	echo 'root:x:0:0:root:/root:/bin/sh' >"$dir/etc/passwd"
	echo 'root:x:0:' >"$dir/etc/group"
	echo 'NAME=lab' >"$dir/etc/os-release"
	echo 00000000000000000000000000000001 >"$dir/etc/machine-id"
	echo 'XENCONSOLED_ARGS=--log=guest' >"$dir/etc/default/xen"
	# Debian 13's systemd does not load it by itself
	mkdir -p "$dir/etc/modules-load.d" && echo loop >"$dir/etc/modules-load.d/lab.conf"
	for level in 2 3 4 5; do
		mkdir -p "$dir/etc/rc$level.d" && ln -sf ../init.d/xen "$dir/etc/rc$level.d/S01xen" &&
			ln -sf ../init.d/xendomains "$dir/etc/rc$level.d/S02xendomains"
	done
	# Debian 13 has units instead, which their package enables when it is installed. (systemctl would ask
	# update-rc.d, too, for the scripts.)
	mkdir -p "$dir/etc/systemd/system/multi-user.target.wants"
	for name in xen xendomains; do
		[ ! -f "$dir/usr/lib/systemd/system/$name.service" ] ||
			ln -sf "/usr/lib/systemd/system/$name.service" \
			"$dir/etc/systemd/system/multi-user.target.wants/" || return 1
	done
	# The console is the lab's, there is no D-Bus here, and what nobody needs here takes half a second each.
	for name in getty.target systemd-logind.service systemd-update-utmp.service \
		systemd-update-utmp-runlevel.service systemd-random-seed.service systemd-user-sessions.service \
		systemd-sysctl.service kmod-static-nodes.service modprobe@configfs.service modprobe@dm_mod.service \
		modprobe@fuse.service modprobe@drm.service modprobe@efi_pstore.service systemd-journal-flush.service \
		sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount \
		proc-sys-fs-binfmt_misc.automount systemd-ask-password-wall.path systemd-ask-password-console.path \
		systemd-tmpfiles-clean.timer; do
		ln -sf /dev/null "$dir/etc/systemd/system/$name"
	done
}

systemd_base_once() { # DIR
	[ ! -d "$1" ] || { touch "$1"; return; }
	rm -rf "$1.new" && systemd_base "$1.new" && mv "$1.new" "$1"
}

# The base is unpacked once; the rest is this build's. Scenarios that need another kernel are none of this dom0's.
systemd_image() { # OUT
	local base tree=$LAB_BUILD/dom0-systemd version kernel
	version=$(lab_kernel_version $LAB_DOM0_KERNEL)
	base=$LAB_APT/systemd-$(cat "$LAB_DIR/lib/systemd.sh" <(apt_key "$LAB_APT" $(systemd_packages)) | sha256sum |
		cut -c1-16)
	locked "$LAB_APT.systemd.lock" systemd_base_once "$base" || return 1
	rm -rf "$tree" && cp -a "$base" "$tree" || return 1
	initramfs_modules "$tree" "$LAB_ROOT" "$version" xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xenfs loop ||
		return 1
	rm "$tree/etc/modules" && depmod -b "$tree" "$version" 2>/dev/null
	cp -r "$LAB_BUILD/dom0/lab" "$tree/lab" && (cd "$tree/lab" && rm -f root* add-*) || return 1
	for kernel in $(lab_guest_kernels); do
		[ "$kernel" = "$LAB_DOM0_KERNEL" ] || rm -f "$tree/lab/vmlinux-$kernel" "$tree/lab/guest-$kernel".*
	done
	mkdir "$tree/lab/bin" && ln -s /bin/busybox "$tree/lab/bin/sh" # scenarios are written for this one
	systemd_grantiod "$tree" || return 1
	cp "$LAB_DIR/dom0/lab.service" "$tree/etc/systemd/system/" && chroot "$tree" systemctl -q enable lab.service ||
		return 1
	ln -s lib/systemd/systemd "$tree/init"
	initramfs_pack "$tree" "$1"
}

# As packaging/debian has it.
systemd_grantiod() { # TREE
	local file place
	cp "$LAB_BUILD/programs/backend/grantiod" "$1/usr/sbin/" &&
		cp "$LAB_BUILD/programs/cli/grantio" "$1/usr/bin/" || return 1
	sed -n 's|^packaging/||p' "$LAB_TOP/packaging/debian/grantiod.install" | while read -r file place; do
		install -D -m 644 "$LAB_TOP/packaging/$file" "$1/$place/$(basename "$file")"
	done
	[ -f "$1/etc/grantio/grantiod.conf" ] ||
		{ echo "lab: grantiod.install does not install grantiod.conf"; return 1; }
	cp "$LAB_TOP/packaging/debian/grantiod.service" "$1/usr/lib/systemd/system/" &&
		chroot "$1" systemctl -q enable grantiod.service
}
