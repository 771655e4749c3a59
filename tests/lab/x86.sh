# SPDX-License-Identifier: MIT
# The x86 lab: everything stock Debian 12. Xen 4.17, a PV dom0 and PVH guests on Debian's own kernel. Sourced by lab.sh.

LAB_SUITE=bookworm
LAB_DEBARCH=amd64
LAB_DOM0_SUFFIX=

lab_host_packages() {
	echo qemu-system-x86 build-essential cpio kmod binutils xz-utils e2fsprogs meson ninja-build pkg-config python3 libelf1
}

# Guests run on Debian's own kernels: the suite's, which is dom0's as well, and 6.12, which it has for newer hardware.
lab_guest_kernels() { echo 6.1 6.12; }
lab_kernel_packages() {
	APT_CONFIG=$LAB_APT/apt.conf apt-cache depends linux-image-amd64 | sed -n 's/ *Depends: \(linux-image-.*\)/\1/p' | head -n 1
	APT_CONFIG=$LAB_APT/apt.conf apt-cache search --names-only '^linux-image-6\.12\..*deb12-amd64$' | cut -d' ' -f1 | sort -V | tail -n 1
}

lab_packages() {
	echo xen-hypervisor-4.17-amd64 xen-utils-4.17 xen-utils-common xenstore-utils $(lab_kernel_packages) busybox-static \
		libxenmisc4.17 libxencall1 libxendevicemodel1 libxenevtchn1 libxenforeignmemory1 libxengnttab1 libxenhypfs1 \
		libxenstore4 libxentoolcore1 libxentoollog1 libxen-dev liburing2 liburing-dev libnbd0 libnbd-dev libfdt1 libfdt-dev libc6 libgcc-s1 \
		libyajl2 libuuid1 zlib1g liblzma5 libbz2-1.0 libzstd1 liblzo2-2 libnl-3-200 libnl-route-3-200 libxml2 \
		libgnutls30 libp11-kit0 libidn2-0 libunistring2 libtasn1-6 libhogweed6 libnettle8 libgmp10 libffi8 libicu72 \
		libstdc++6 libsystemd0 libcap2 libgcrypt20 libgpg-error0 liblz4-1 e2fsprogs libext2fs2 libcom-err2 libss2 libblkid1 \
		util-linux libcap-ng0
}

# grantio.ko for a kernel; a warning is an error. Debian's headers name the compiler that the kernel was built with,
# which the host need not have.
lab_module() { # VERSION
	local cc=gcc-12
	command -v $cc >/dev/null || cc=gcc
	headers_unpack "$LAB_APT" "$LAB_ROOT" "linux-headers-$1" || return 1
	make -C "$LAB_TOP/kmod" KDIR="$LAB_ROOT/usr/src/linux-headers-$1" OUT="$LAB_BUILD/module-$1" CC=$cc KCFLAGS=-Werror
}

lab_libdirs() { echo "$LAB_ROOT/usr/lib/x86_64-linux-gnu" "$LAB_ROOT/lib/x86_64-linux-gnu"; }
lab_kernel_version() { ls "$LAB_ROOT/lib/modules" | grep "^$1\." | sort -V | tail -n 1; } # KERNEL

# dom0's kernel, and most guests', as an ELF file out of the bzImage: it saves Xen and xl eight seconds of unpacking each.
# The other one stays as it is: xl unpacks it, and dom0's memory has no room for a second one.
lab_kernels() {
	local kernel version
	gzip -dc "$LAB_ROOT/boot/xen-4.17-amd64.gz" >"$LAB_BUILD/xen"
	for kernel in $(lab_guest_kernels); do
		version=$(lab_kernel_version "$kernel")
		[ -n "$version" ] || { echo "lab: no kernel $kernel in the packages"; return 1; }
		ln -sf "$LAB_ROOT/boot/vmlinuz-$version" "$LAB_BUILD/vmlinux-$kernel"
	done
	version=$(lab_kernel_version 6.1)
	[ -f "$LAB_BUILD/elf-$version" ] || python3 "$LAB_DIR/lib/vmlinux.py" "$LAB_ROOT/boot/vmlinuz-$version" "$LAB_BUILD/elf-$version" || return 1
	ln -sf "elf-$version" "$LAB_BUILD/vmlinux-6.1"
}

# The same programs that a user of Debian 12 would build, against that suite's libraries.
lab_programs() {
	local dir=$LAB_BUILD/programs kernel
	cat >"$LAB_BUILD/native.ini" <<-INI
		[properties]
		sys_root = '$LAB_ROOT'
		pkg_config_libdir = '$LAB_ROOT/usr/lib/x86_64-linux-gnu/pkgconfig'
		[built-in options]
		c_link_args = ['-Wl,--allow-shlib-undefined', '-L$LAB_ROOT/usr/lib/x86_64-linux-gnu', '-Wl,-rpath-link=$LAB_ROOT/usr/lib/x86_64-linux-gnu']
	INI
	[ -f "$dir/build.ninja" ] || PKG_CONFIG_SYSROOT_DIR=$LAB_ROOT meson setup "$dir" "$LAB_TOP" --native-file "$LAB_BUILD/native.ini" \
		--buildtype=release -Ddevelop=false || return 1
	ninja -C "$dir" -j2 --quiet all $LAB_TOOLS tests/guest/guest-xen tests/guest/guest-peer || return 1
	for kernel in $(lab_guest_kernels); do lab_module "$(lab_kernel_version "$kernel")" || return 1; done
}

# grantio.ko comes first, before the drivers that it makes devices for; scenarios load it in other orders.
lab_guest_modules() { # TREE KERNEL
	local version
	version=$(lab_kernel_version "$2")
	initramfs_modules "$1" "$LAB_ROOT" "$version" crc32c_generic virtio_mmio virtio_blk ext4 xen-blkfront || return 1
	cp "$LAB_BUILD/module-$version/kmod/grantio.ko" "$1/lib/modules/"
	initramfs_grantio "$1"
	initramfs_program "$1" "$LAB_ROOT/sbin/mke2fs" $(lab_libdirs)
}
lab_dom0_modules() {
	initramfs_modules "$1" "$LAB_ROOT" "$(lab_kernel_version 6.1)" xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xenfs crc32c_generic ext4 loop xen-blkback
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
	initramfs_program "$1" "$LAB_ROOT/sbin/e2fsck" $(lab_libdirs) || return 1
	initramfs_program "$1" "$LAB_ROOT/usr/bin/setpriv" $(lab_libdirs) || return 1
	kernel=$(lab_kernel_version 6.1)
	debian_initramfs "$kernel" "$LAB_BUILD/module-$kernel/kmod/grantio.ko" "$LAB_BUILD/root-initrd.img" || return 1
	debian_root "$LAB_BUILD/root.raw" && cp "$LAB_BUILD/root-initrd.img" "$LAB_BUILD/root.raw" "$1/lab/" || return 1
	cp "$LAB_BUILD/programs/tests/guest/guest-xen" "$LAB_TOP/tests/guest/transcript.txt" "$1/lab/" || return 1
	initramfs_program "$1" "$LAB_BUILD/programs/tests/guest/guest-peer" $(lab_libdirs)
}

# dom0s for scenarios that ask for them ("# Dom0: NAME").
lab_more_images() { systemd_image "$LAB_BUILD/dom0-systemd.cpio"; }

# The console is on standard input and output; Ctrl-C goes to it.
lab_qemu() {
	exec timeout --foreground -k 5 "${LAB_TIMEOUT:-86400}" qemu-system-x86_64 -machine q35 -cpu qemu64,+svm,+npt -accel tcg,thread=multi -m 1536 -smp 1 \
		-display none -vga none -nic none -chardev stdio,id=console,signal=off -serial chardev:console -monitor none -no-reboot -kernel "$LAB_BUILD/xen" \
		-append "console=com1 com1=115200,8n1 dom0_mem=768M,max:768M dom0_max_vcpus=1 loglvl=all guest_loglvl=all $LAB_XEN_ARGS" \
		-initrd "$LAB_BUILD/vmlinux-6.1 console=hvc0 earlyprintk=xen loglevel=4 $LAB_DOM0_ARGS,$LAB_BUILD/dom0${LAB_DOM0:+-$LAB_DOM0}.cpio"
}
