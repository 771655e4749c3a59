# SPDX-License-Identifier: MIT
# The x86 labs: everything stock Debian, a PV dom0 and PVH guests on Debian's own kernels. "x86" is Debian 13, Xen 4.20;
# "x86-bookworm" is Debian 12, Xen 4.17, for a handful of scenarios. Sourced by lab.sh.

LAB_DEBARCH=amd64
LAB_DOM0_SUFFIX=

# What a Debian is made of: its Xen, dom0's kernel, what guests run on (the first one is dom0's), and, of the older one,
# which scenarios.
case $arch in
x86) LAB_SUITE=trixie LAB_XEN=4.20 LAB_DOM0_KERNEL=6.12 LAB_SCENARIOS= ;;
x86-bookworm)
	LAB_SUITE=bookworm LAB_XEN=4.17 LAB_DOM0_KERNEL=6.1 LAB_SCENARIOS='one-disk filesystem resume offers two-guests'
	;;
esac
lab_guest_kernels() { [ $LAB_SUITE = bookworm ] && echo 6.1 || echo 6.12 6.1; }

lab_host_packages() {
	echo build-essential cpio kmod binutils xz-utils zstd e2fsprogs meson ninja-build pkg-config python3 libelf1
	x86_qemu_of_host && echo qemu-system-x86
}

lab_packages() {
	echo xen-hypervisor-$LAB_XEN-amd64 xen-utils-$LAB_XEN xen-utils-common xenstore-utils busybox-static \
		$(x86_kernel_package "$LAB_APT") libxenmisc$LAB_XEN libxencall1 libxendevicemodel1 libxenevtchn1 \
		libxenforeignmemory1 libxengnttab1 libxenhypfs1 libxenstore4 libxentoolcore1 libxentoollog1 libxen-dev \
		liburing2 liburing-dev libnbd0 libnbd-dev libfdt1 libfdt-dev libc6 libgcc-s1 linux-libc-dev libyajl2 \
		libuuid1 zlib1g liblzma5 libbz2-1.0 libzstd1 liblzo2-2 libnl-3-200 libnl-route-3-200 libxml2 \
		libp11-kit0 libidn2-0 libtasn1-6 libgmp10 libffi8 libstdc++6 e2fsprogs libcom-err2 libss2 libblkid1 \
		util-linux libcap-ng0
	case $LAB_SUITE in
	bookworm)
		echo libgnutls30 libunistring2 libhogweed6 libnettle8 libicu72 libsystemd0 libcap2 libgcrypt20 \
			libgpg-error0 liblz4-1 libext2fs2
		;;
	trixie) echo libgnutls30t64 libunistring5 libhogweed6t64 libnettle8t64 libext2fs2t64 ;;
	esac
}
# APT
x86_kernel_package() {
	APT_CONFIG=$1/apt.conf apt-cache depends linux-image-amd64 | sed -n 's/ *Depends: \(linux-image-.*\)/\1/p' |
		head -n 1
}

# Debian 12's kernel as a guest on Debian 13's Xen: out of that suite, in a root of its own.
x86_other_kernel() {
	local apt=$LAB_CACHE/bookworm-amd64 package
	apt_private "$apt" bookworm amd64 || return 1
	package=$(x86_kernel_package "$apt")
	[ -n "$package" ] && apt_unpack "$apt" "$apt/kernels" "$package"
}
lab_kernel_apt() { [ "$1" = "$LAB_DOM0_KERNEL" ] && echo "$LAB_APT" || echo "$LAB_CACHE/bookworm-amd64"; } # KERNEL
# KERNEL
lab_kernel_root() { [ "$1" = "$LAB_DOM0_KERNEL" ] && echo "$LAB_ROOT" || echo "$LAB_CACHE/bookworm-amd64/kernels"; }
lab_kernel_version() { ls "$(lab_kernel_root "$1")/lib/modules" | grep "^$1\." | sort -V | tail -n 1; } # KERNEL

# grantio.ko for a kernel; a warning is an error. Debian's headers name the compiler that the kernel was built with,
# which the host need not have: an older one knows less.
lab_module() { # KERNEL
	local cc=gcc-12 root version align= more=-Werror
	root=$(lab_kernel_root "$1") version=$(lab_kernel_version "$1")
	command -v $cc >/dev/null || cc=gcc
	headers_unpack "$(lab_kernel_apt "$1")" "$root" "linux-headers-$version" || return 1
	echo 'int x;' | $cc -Werror -fmin-function-alignment=16 -xc -c -o /dev/null - 2>/dev/null ||
		align=CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT=
	echo 'struct s { int n; int v[] __attribute__((__counted_by__(n))); };' |
		$cc -Werror -xc -c -o /dev/null - 2>/dev/null ||
		more="$more -Wno-attributes"
	make -C "$LAB_TOP/kmod" KDIR="$root/usr/src/linux-headers-$version" OUT="$LAB_BUILD/module-$version" CC=$cc \
		KCFLAGS="$more" $align
}

lab_libdirs() { echo "$LAB_ROOT/usr/lib/x86_64-linux-gnu" "$LAB_ROOT/lib/x86_64-linux-gnu"; }

# dom0's kernel, and most guests', as an ELF file out of the bzImage: it saves Xen and xl eight seconds of unpacking
# each. The other one stays as it is: xl unpacks it, and dom0's memory has no room for a second one.
lab_kernels() {
	local kernel version
	[ -e "$LAB_ROOT/lib" ] || ln -s usr/lib "$LAB_ROOT/lib" # where depmod looks
	gzip -dc "$LAB_ROOT/boot/xen-$LAB_XEN-amd64.gz" >"$LAB_BUILD/xen" || return 1
	[ "$LAB_SUITE" = bookworm ] || x86_other_kernel || return 1
	for kernel in $(lab_guest_kernels); do
		version=$(lab_kernel_version "$kernel")
		[ -n "$version" ] || { echo "lab: no kernel $kernel in the packages"; return 1; }
		[ -f "$(lab_kernel_root "$kernel")/lib/modules/$version/modules.dep" ] ||
			depmod -b "$(lab_kernel_root "$kernel")" "$version" || return 1
		ln -sf "$(lab_kernel_root "$kernel")/boot/vmlinuz-$version" "$LAB_BUILD/vmlinux-$kernel"
	done
	version=$(lab_kernel_version $LAB_DOM0_KERNEL)
	[ -f "$LAB_BUILD/elf-$version" ] || python3 "$LAB_DIR/lib/vmlinux.py" "$LAB_ROOT/boot/vmlinuz-$version" \
		"$LAB_BUILD/elf-$version" || return 1
	ln -sf "elf-$version" "$LAB_BUILD/vmlinux-$LAB_DOM0_KERNEL"
}

# The same programs that a user of that Debian would build, against its libraries.
lab_programs() {
	local dir=$LAB_BUILD/programs libs=$LAB_ROOT/usr/lib/x86_64-linux-gnu kernel
	cat >"$LAB_BUILD/native.ini" <<-INI
		[properties]
		sys_root = '$LAB_ROOT'
		pkg_config_libdir = '$libs/pkgconfig'
		[built-in options]
		c_link_args = ['-Wl,--allow-shlib-undefined', '-L$libs', '-Wl,-rpath-link=$libs']
	INI
	PKG_CONFIG_SYSROOT_DIR=$LAB_ROOT programs_setup "$dir" --native-file "$LAB_BUILD/native.ini" || return 1
	ninja -C "$dir" -j2 --quiet all $LAB_TOOLS tests/guest/guest-xen tests/guest/guest-peer || return 1
	for kernel in $(lab_guest_kernels); do lab_module "$kernel" || return 1; done
}

# grantio.ko comes first, before the drivers that it makes devices for; scenarios load it in other orders.
lab_guest_modules() { # TREE KERNEL
	local version
	version=$(lab_kernel_version "$2")
	initramfs_modules "$1" "$(lab_kernel_root "$2")" "$version" crc32c_generic virtio_mmio virtio_blk virtio-rng \
		ext4 xen-blkfront || return 1
	cp "$LAB_BUILD/module-$version/kmod/grantio.ko" "$1/lib/modules/"
	initramfs_grantio "$1"
	initramfs_program "$1" "$(x86_sbin mke2fs)" $(lab_libdirs)
}
x86_sbin() { find "$LAB_ROOT/sbin/$1" "$LAB_ROOT/usr/sbin/$1" 2>/dev/null | head -n 1; } # PROGRAM
lab_dom0_modules() {
	initramfs_modules "$1" "$LAB_ROOT" "$(lab_kernel_version $LAB_DOM0_KERNEL)" xen-evtchn xen-gntdev xen-gntalloc \
		xen-privcmd xenfs crc32c_generic ext4 loop xen-blkback
}

lab_guest_cfg() { # KERNEL
	cat <<-CFG
		type="pvh"
		kernel="/lab/vmlinux-$1"
		ramdisk="/lab/guest-$1.cpio.gz"
		memory=160
		vcpus=1
		tsc_mode="native"
		on_poweroff="destroy"
	CFG
}
lab_shell_comes='a minute'
# Without this the kernel looks at every slot of a PCI bus that is not there, twice: 2 of its 15 seconds.
lab_guest_args='pci=noearly'
lab_disk_spec='format=raw,specification=virtio,backendtype=standalone'

lab_dom0_files() {
	local kernel
	for kernel in $(lab_guest_kernels); do cp "$LAB_BUILD/vmlinux-$kernel" "$1/lab/"; done
	initramfs_program "$1" "$(x86_sbin e2fsck)" $(lab_libdirs) || return 1
	initramfs_program "$1" "$LAB_ROOT/usr/bin/setpriv" $(lab_libdirs) || return 1
	kernel=$(lab_kernel_version $LAB_DOM0_KERNEL)
	debian_initramfs "$kernel" "$LAB_BUILD/module-$kernel/kmod/grantio.ko" "$LAB_BUILD/root-initrd.img" || return 1
	debian_root "$LAB_BUILD/root.raw" && cp "$LAB_BUILD/root-initrd.img" "$LAB_BUILD/root.raw" "$1/lab/" || return 1
	cp "$LAB_BUILD/programs/tests/guest/guest-xen" "$LAB_TOP/tests/guest/transcript.txt" "$1/lab/" || return 1
	initramfs_program "$1" "$LAB_BUILD/programs/tests/guest/guest-peer" $(lab_libdirs)
}

# dom0s for scenarios that ask for them ("# Dom0: NAME").
lab_more_images() { [ -n "$LAB_SCENARIOS" ] || systemd_image "$LAB_BUILD/dom0-systemd.cpio"; }

# QEMU from 8 on (10.0.2 was tried) ends PVH guests early: it decodes their `mov %cr2` as something else. Where the
# host's is one of these, Debian 12's runs out of a private root, with its own libraries.
x86_qemu_of_host() {
	local version
	[ "${LAB_QEMU-}" != private ] || return 1
	version=$(qemu-system-x86_64 --version 2>/dev/null | sed -n 's/^QEMU emulator version \([0-9]*\).*/\1/p')
	[ -n "$version" ] || version=$(apt-cache policy qemu-system-x86 |
		sed -n 's/ *Candidate: \([0-9]*:\)\?\([0-9]*\).*/\2/p')
	[ "${version:-8}" -lt 8 ]
}
lab_host_programs() {
	local apt=$LAB_CACHE/bookworm-amd64 root lib program=$LAB_BUILD/qemu-system-x86_64 packages
	rm -f "$program"
	! x86_qemu_of_host || return 0
	apt_private "$apt" bookworm amd64 || return 1
	packages=$(APT_CONFIG=$apt/apt.conf apt-get -s --no-install-recommends install qemu-system-x86 |
		awk '$1 == "Inst" { print $2 }')
	root=$apt/qemu-$(apt_key "$apt" $packages) lib=$apt/qemu-$(apt_key "$apt" $packages)/usr/lib/x86_64-linux-gnu
	[ -n "$packages" ] && apt_unpack "$apt" "$root" $packages || return 1
	cat >"$program" <<-RUN
		#!/bin/sh
		export QEMU_MODULE_DIR="$lib/qemu"
		exec "$root/lib64/ld-linux-x86-64.so.2" \
			--library-path "$lib:$root/lib/x86_64-linux-gnu:$lib/pulseaudio" \
			"$root/usr/bin/qemu-system-x86_64" -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" \
			-L "$root/usr/lib/ipxe/qemu" "\$@"
	RUN
	chmod 755 "$program" && "$program" --version
}

# The console is on standard input and output; Ctrl-C goes to it.
lab_qemu() {
	local program=$LAB_BUILD/qemu-system-x86_64 xen dom0
	xen="console=com1 com1=115200,8n1 dom0_mem=768M,max:768M dom0_max_vcpus=1 loglvl=all guest_loglvl=all"
	xen="$xen conring_size=256k" # room for all of a pool's grants, which scenarios read there
	dom0="console=hvc0 earlyprintk=xen loglevel=4 $LAB_DOM0_ARGS"
	[ -x "$program" ] || program=qemu-system-x86_64
	exec timeout --foreground -k 5 "${LAB_TIMEOUT:-86400}" "$program" -machine q35 -cpu qemu64,+svm,+npt \
		-accel tcg,thread=multi -m 1536 -smp "${LAB_PROCESSORS:-1}" \
		-display none -vga none -nic none -chardev stdio,id=console,signal=off -serial chardev:console \
		-monitor none -no-reboot -kernel "$LAB_BUILD/xen" \
		-append "$xen $LAB_XEN_ARGS" \
		-initrd "$LAB_BUILD/vmlinux-$LAB_DOM0_KERNEL $dom0,$LAB_BUILD/dom0${LAB_DOM0:+-$LAB_DOM0}.cpio"
}
