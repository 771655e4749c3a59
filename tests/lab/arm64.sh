# SPDX-License-Identifier: MIT
# The Arm64 lab: Xen 4.20 with IOREQ_SERVER from Debian's source package, and a small kernel with CONFIG_XEN_VIRTIO from
# linux-source, both built once and cached by the hash of what goes in; trixie's user space. Sourced by lab.sh.

LAB_SUITE=trixie
LAB_SCENARIOS=
LAB_DEBARCH=arm64
LAB_DOM0_SUFFIX=.gz
CROSS=aarch64-linux-gnu-

lab_host_packages() {
	echo qemu-system-arm gcc-aarch64-linux-gnu libc6-dev-arm64-cross build-essential flex bison bc libelf-dev \
		libssl-dev cpio kmod binutils xz-utils e2fsprogs meson ninja-build pkg-config python3 checkpolicy m4 \
		device-tree-compiler libfdt-dev
}

lab_packages() {
	echo xen-utils-4.20 xen-utils-common xenstore-utils libxenmisc4.20 libxencall1 libxendevicemodel1 \
		libxenevtchn1 libxenforeignmemory1 libxengnttab1 libxenhypfs1 libxenstore4 libxentoolcore1 \
		libxentoollog1 libxen-dev busybox-static libc6 libgcc-s1 liburing2 liburing-dev libnbd0 libnbd-dev \
		linux-libc-dev libyajl2 libuuid1 zlib1g liblzma5 libbz2-1.0 libzstd1 liblzo2-2 libfdt1 libfdt-dev \
		libnl-3-200 libnl-route-3-200 libxml2 libgnutls30t64 libp11-kit0 libidn2-0 libunistring5 libtasn1-6 \
		libhogweed6t64 libnettle8t64 libgmp10 libffi8 e2fsprogs libext2fs2t64 libcom-err2 libss2 libblkid1 \
		$(arm64_stock_package)
}

# Of the same stable series as the suite's, so that its tools fit.
XEN_KNOWN='pool/main/x/xen/xen_4.20.3+127-gc42374a105.orig.tar.xz'
XEN_KNOWN="$XEN_KNOWN df0831854a55a8f31cb3cb85036f2edc928e2ef098d77f815f5714bfafac68f3"

# Xen, and the parts of its source that FLASK policies are built from.
arm64_xen() {
	local key out
	apt_source_tarball xen $XEN_KNOWN || return 1
	key=$( (cat "$LAB_DIR/arm64-xen.config"; basename "$APT_TARBALL") | sha256sum | cut -c1-16)
	out=$LAB_CACHE/arm64/xen-$key
	mkdir -p "$LAB_CACHE/arm64"
	if [ ! -f "$out" ]; then
		rm -rf "$LAB_BUILD/xen-src"; mkdir -p "$LAB_BUILD/xen-src"
		tar -xf "$APT_TARBALL" -C "$LAB_BUILD/xen-src" --strip-components=1
		make -C "$LAB_BUILD/xen-src/xen" XEN_TARGET_ARCH=arm64 CROSS_COMPILE=$CROSS defconfig
		cat "$LAB_DIR/arm64-xen.config" >>"$LAB_BUILD/xen-src/xen/.config"
		make -C "$LAB_BUILD/xen-src/xen" XEN_TARGET_ARCH=arm64 CROSS_COMPILE=$CROSS olddefconfig
		make -C "$LAB_BUILD/xen-src/xen" XEN_TARGET_ARCH=arm64 CROSS_COMPILE=$CROSS -j2 || return 1
		rm -rf "$out.flask"; mkdir "$out.flask"
		(cd "$LAB_BUILD/xen-src" && cp -r --parents tools/flask/policy xen/xsm/flask/policy "$out.flask") &&
			cp "$LAB_BUILD/xen-src/xen/xen" "$out.new" && mv "$out.new" "$out" || return 1
		rm -rf "$LAB_BUILD/xen-src"
	fi
	cp "$out" "$LAB_BUILD/xen" && arm64_policies "$out.flask"
}

# Xen's example policy with our module; the same with a module that lacks the rules for backends; and these rules, a
# line each.
arm64_policies() { # SOURCE
	local bare=$LAB_BUILD/flask-bare
	mkdir -p "$bare" && cp "$LAB_TOP"/packaging/flask/grantio.* "$bare" || return 1
	sed -i '/^grantio_serve(/d' "$bare/grantio.te"
	"$LAB_TOP/packaging/flask/build.sh" "$1" "$LAB_BUILD/policy" &&
		"$LAB_TOP/packaging/flask/build.sh" "$1" "$LAB_BUILD/policy-bare" "$bare" &&
		(cat "$LAB_TOP/packaging/flask/grantio.if"; grep '^grantio_serve(' \
		"$LAB_TOP/packaging/flask/grantio.te") | m4 |
		tr ':{};' '    ' | awk '$1 == "allow" { for (i = 5; i <= NF; i++) print $2, $3, $4, $i }' |
		sort -u >"$LAB_BUILD/rules"
}

arm64_kernel() {
	local key out src
	key=$( (cat "$LAB_DIR/arm64-kernel.config"; apt_binary_version linux-source-6.12) | sha256sum | cut -c1-16)
	out=$LAB_CACHE/arm64/Image-$key
	if [ ! -f "$out" ]; then
		apt_unpack "$LAB_APT" "$LAB_BUILD/linux" linux-source-6.12 || return 1
		tar -xf "$LAB_BUILD"/linux/usr/src/linux-source-6.12.tar.xz -C "$LAB_BUILD/linux"
		src=$LAB_BUILD/linux/linux-source-6.12
		make -C "$src" ARCH=arm64 CROSS_COMPILE=$CROSS allnoconfig
		(cd "$src" && CROSS_COMPILE=$CROSS ARCH=arm64 scripts/kconfig/merge_config.sh -m .config \
			"$LAB_DIR/arm64-kernel.config")
		make -C "$src" ARCH=arm64 CROSS_COMPILE=$CROSS olddefconfig
		make -C "$src" ARCH=arm64 CROSS_COMPILE=$CROSS -j2 Image modules &&
			arm64_headers "$src" "$out.headers" &&
			cp "$src/arch/arm64/boot/Image" "$out.new" && mv "$out.new" "$out" || return 1
		rm -rf "$LAB_BUILD/linux"
	fi
	cp "$out" "$LAB_BUILD/Image" && ln -sfn "$out.headers" "$LAB_BUILD/headers-mainline"
}

# What modules are built with: of the kernel's folder, what is neither source nor object.
arm64_headers() { # FROM TO
	rm -rf "$2" && mkdir -p "$2" && (cd "$1" &&
		cp -a --parents Makefile .config Module.symvers include scripts arch/arm64/Makefile arch/arm64/include \
		arch/arm64/kernel/vdso "$2")
}

# `driver` is the same kernel with another RAM disk: a driver domain. `stock` is Debian's own, with grantio.ko.
lab_guest_kernels() { echo mainline driver stock; }
lab_kernels() {
	[ -e "$LAB_ROOT/lib" ] || ln -s usr/lib "$LAB_ROOT/lib" || return 1 # where depmod looks
	[ -f "$LAB_ROOT/lib/modules/$(arm64_stock_version)/modules.dep" ] ||
		depmod -b "$LAB_ROOT" "$(arm64_stock_version)" || return 1
	arm64_xen && arm64_kernel && arm64_late
}
arm64_stock_package() {
	APT_CONFIG=$LAB_APT/apt.conf apt-cache depends linux-image-arm64 |
		sed -n 's/ *Depends: \(linux-image-.*\)/\1/p' | head -n 1
}
arm64_stock_version() {
	ls "$LAB_ROOT/lib/modules" "$LAB_ROOT/usr/lib/modules" 2>/dev/null | grep -e '-arm64$' | sort -V | tail -n 1
}

# grantio.ko for that kernel. The programs that its headers build with are the host's, of the same version; its compiler
# may be newer than ours, which then knows less. That kernel writes addresses before each function, for its tracer, and
# halts where one is not aligned to 8 bytes. GCC before 14 aligns no function that it takes for cold, as all are that do
# nothing but warn; it takes none for cold if it does not guess.
arm64_module() {
	local tools=$LAB_CACHE/$LAB_SUITE-$(dpkg --print-architecture) headers=$LAB_CACHE/arm64/headers version \
		more=-Werror align=
	version=$(arm64_stock_version)
	apt_private "$tools" "$LAB_SUITE" "$(dpkg --print-architecture)" || return 1
	mkdir -p "$headers" && headers_unpack "$LAB_APT" "$headers" "linux-headers-$version" "$tools" || return 1
	echo 'int x;' | ${CROSS}gcc -Werror -fmin-function-alignment=16 -xc -c -o /dev/null - 2>/dev/null ||
		align=CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT= more="$more -fno-guess-branch-probability"
	echo 'struct s { int n; int v[] __attribute__((__counted_by__(n))); };' |
		${CROSS}gcc -Werror -xc -c -o /dev/null - 2>/dev/null ||
		more="$more -Wno-attributes"
	make -C "$LAB_TOP/kmod" KDIR="$headers/usr/src/linux-headers-$version" OUT="$LAB_BUILD/module-$version" \
		ARCH=arm64 CC="${CROSS}gcc" CROSS_COMPILE=$CROSS KCFLAGS="$more" $align || return 1
	# And for our own kernel, which needs none.
	make -C "$LAB_TOP/kmod" KDIR="$LAB_BUILD/headers-mainline" OUT="$LAB_BUILD/module-mainline" ARCH=arm64 \
		CROSS_COMPILE=$CROSS KCFLAGS=-Werror
}

lab_plain_qemu() {
	echo qemu-system-aarch64 -machine virt,gic-version=3 -cpu cortex-a57 -m 1024 -smp 1 -accel tcg,thread=multi
}
lab_libdirs() { echo "$LAB_ROOT/usr/lib/aarch64-linux-gnu" "$LAB_ROOT/lib/aarch64-linux-gnu"; }

# grantiod and grantio for arm64, against the unpacked development packages.
lab_programs() {
	local dir=$LAB_BUILD/programs libs=$LAB_ROOT/usr/lib/aarch64-linux-gnu
	cat >"$LAB_BUILD/cross.ini" <<-INI
		[binaries]
		c = '${CROSS}gcc'
		ar = '${CROSS}ar'
		strip = '${CROSS}strip'
		pkgconfig = 'pkg-config'
		[properties]
		sys_root = '$LAB_ROOT'
		pkg_config_libdir = '$libs/pkgconfig'
		needs_exe_wrapper = true
		[built-in options]
		c_link_args = ['-Wl,--allow-shlib-undefined', '-L$libs', '-Wl,-rpath-link=$libs']
		[host_machine]
		system = 'linux'
		cpu_family = 'aarch64'
		cpu = 'aarch64'
		endian = 'little'
	INI
	programs_setup "$dir" --cross-file "$LAB_BUILD/cross.ini" || return 1
	ninja -C "$dir" -j2 --quiet all $LAB_TOOLS tests/guest/guest-xen tests/guest/guest-peer && arm64_module ||
		return 1
	${CROSS}objcopy -O binary "$dir/tests/guest/guest-xen" "$LAB_BUILD/guest-xen" || return 1 # xl takes an Image
	arm64_dt_emit && arm64_tool "$LAB_DIR/tools/reach.c" -lxenctrl -lxendevicemodel -lxenforeignmemory &&
		arm64_tool "$LAB_TOP/tests/hostile/steal.c" -lxengnttab -lxenforeignmemory
}
# The tree of dom0less.sh, by the host's own `grantio dt`.
arm64_dt_emit() {
	mkdir -p "$LAB_BUILD/tools"
	gcc -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -I"$LAB_TOP" -I"$LAB_TOP/include" -o "$LAB_BUILD/tools/dt" \
		"$LAB_DIR/tools/dt.c" "$LAB_TOP"/cli/dt/*.c "$LAB_TOP"/cli/args.c "$LAB_TOP"/cli/command.c -lfdt &&
		"$LAB_BUILD/tools/dt" dt emit --dom0less --device base=0x2000000,irq=33,backend=0 \
		--output "$LAB_BUILD/dom0less.dtb"
}
arm64_tool() { # SOURCE LIBRARY...
	local source=$1
	shift
	mkdir -p "$LAB_BUILD/tools"
	${CROSS}gcc -Wall -Wextra -Werror -O2 -o "$LAB_BUILD/tools/$(basename "$source" .c)" "$source" \
		-I"$LAB_ROOT/usr/include" -L"$LAB_ROOT/usr/lib/aarch64-linux-gnu" -Wl,--allow-shlib-undefined "$@"
}

lab_guest_modules() { # TREE KERNEL
	local version
	case $2 in
	driver)
		arm64_programs "$1" "$LAB_BUILD/programs/backend/grantiod" "$LAB_ROOT"/usr/bin/xenstore-read \
			"$LAB_ROOT"/usr/bin/xenstore-write "$LAB_ROOT"/usr/bin/xenstore-watch
		;;
	mainline) mkdir -p "$1/lib/modules" && cp "$LAB_BUILD/module-mainline/kmod/grantio.ko" "$1/lib/modules/" ;;
	stock)
		version=$(arm64_stock_version)
		initramfs_modules "$1" "$LAB_ROOT" "$version" crc32c_generic virtio_mmio virtio_blk ext4 xen-blkfront ||
			return 1
		cp "$LAB_BUILD/module-$version/kmod/grantio.ko" "$1/lib/modules/" && initramfs_grantio "$1"
		initramfs_program "$1" "$LAB_ROOT/usr/sbin/mke2fs" $(lab_libdirs)
		;;
	esac
}
arm64_programs() { # TREE FILE...: files, and the tools that try what is not allowed
	local tree=$1 file
	shift
	for file in "$@" "$LAB_BUILD/tools/reach" "$LAB_BUILD/tools/steal"; do
		initramfs_program "$tree" "$file" $(lab_libdirs) || return 1
	done
}
lab_dom0_modules() { :; }

lab_guest_cfg() { # KERNEL
	local memory=128 image=Image
	[ "$1" = mainline ] || memory=192
	[ "$1" != stock ] || image=Image-stock
	cat <<-CFG
		kernel="/lab/$image"
		ramdisk="/lab/guest-$1.cpio.gz"
		memory=$memory
		vcpus=1
		on_poweroff="destroy"
	CFG
}
lab_shell_comes='twenty seconds'
lab_guest_args=
lab_disk_spec='format=raw,specification=virtio,backendtype=standalone,grant_usage=1'

lab_dom0_files() {
	local version
	version=$(arm64_stock_version)
	debian_initramfs "$version" "$LAB_BUILD/module-$version/kmod/grantio.ko" "$LAB_BUILD/root-initrd.img" ||
		return 1
	cp "$LAB_BUILD/guest-xen" "$1/lab/" && sed -f "$LAB_TOP/tests/guest/transcript-arm64.sed" \
		"$LAB_TOP/tests/guest/transcript.txt" >"$1/lab/transcript.txt" &&
		initramfs_program "$1" "$LAB_BUILD/programs/tests/guest/guest-peer" $(lab_libdirs) || return 1
	debian_root "$LAB_BUILD/root.raw" && cp "$LAB_BUILD/root-initrd.img" "$LAB_BUILD/root.raw" "$1/lab/" || return 1
	cp "$LAB_BUILD/Image" "$LAB_BUILD/policy" "$LAB_BUILD/policy-bare" "$LAB_BUILD/rules" "$1/lab/" &&
		cp "$LAB_ROOT/boot/vmlinuz-$version" "$1/lab/Image-stock" &&
		initramfs_program "$1" "$LAB_ROOT/usr/lib/xen-4.20/bin/init-dom0less" $(lab_libdirs) &&
		initramfs_program "$1" "$LAB_ROOT/usr/sbin/e2fsck" $(lab_libdirs) && arm64_programs "$1"
}

lab_more_images() { :; }
lab_host_programs() { :; }

# A kernel that waits for its device, and the same in a file of its own: guest/late.S.
arm64_late() {
	local image=$LAB_BUILD/Image-late object=$LAB_BUILD/late.o
	${CROSS}gcc -c -DSIZE="$((0x200000 + 0x2000000))" -o "$object" "$LAB_DIR/guest/late.S" &&
		${CROSS}objcopy -O binary -j .text "$object" "$image" &&
		truncate -s 2M "$image" && cat "$LAB_BUILD/Image" >>"$image"
}

# What a scenario's line "# Xen: ... lab=NAME" asks for beyond the usual: more boot modules, in Xen's device tree.
#   policy    the FLASK policy, as the boot loader's module
#   dom0less  a guest that Xen makes, with a disk in its device tree by `grantio dt emit`
arm64_modules() { # NAME: the lines of a list "NODE FILE ADDRESS COMPATIBLE [BOOT ARGUMENTS]"
	case $1 in
	policy) echo "/chosen/module@5c000000 $LAB_BUILD/policy 0x5c000000 xen,xsm-policy" ;;
	dom0less)
		echo "/chosen/domU1/module@58000000 $LAB_BUILD/Image-late 0x58000000 multiboot,kernel" \
			"earlycon=xenboot keep_bootcon panic=1 rdinit=/init loglevel=5 lab=dom0less"
		echo "/chosen/domU1/module@5a000000 $LAB_BUILD/guest-mainline.cpio.gz 0x5a000000 multiboot,ramdisk"
		echo "/chosen/domU1/module@5b000000 $LAB_BUILD/dom0less.dtb 0x5b000000 multiboot,device-tree"
		;;
	esac
}
arm64_tree() { # NAME TREE: add them
	local node file address compatible bootargs
	if [ "$1" = dom0less ]; then
		fdtput -p -t s "$2" /chosen/domU1 compatible xen,domain &&
			fdtput -t i "$2" /chosen/domU1 '#address-cells' 2 &&
			fdtput -t i "$2" /chosen/domU1 '#size-cells' 2 && fdtput -t i "$2" /chosen/domU1 cpus 1 &&
			fdtput -t i "$2" /chosen/domU1 memory 0 131072 &&
			fdtput -t s "$2" /chosen/domU1 xen,enhanced enabled || return 1
	fi
	arm64_modules "$1" | while read -r node file address compatible bootargs; do
		fdtput -p -t s "$2" "$node" compatible "$compatible" multiboot,module &&
			fdtput -t x "$2" "$node" reg 0 "$address" 0 "$(printf '%x' "$(stat -c %s "$file")")" || return 1
		[ -z "$bootargs" ] || fdtput -t s "$2" "$node" bootargs "$bootargs" || return 1
	done
}

# The console is on standard input and output; Ctrl-C goes to it.
lab_qemu() {
	local name tree= dom0="console=hvc0 panic=1 rdinit=/init $LAB_DOM0_ARGS"
	name=$(echo "$LAB_XEN_ARGS" | tr ' ' '\n' | sed -n 's/^lab=//p')
	set -- -machine virt,virtualization=on,gic-version=3 -cpu cortex-a57 -m 2048 -smp "${LAB_PROCESSORS:-1}" \
		-accel tcg,thread=multi,tb-size=512 -display none -monitor none -no-reboot -nic none \
		-kernel "$LAB_BUILD/xen" -append \
		"console=dtuart dom0_mem=1024M dom0_max_vcpus=1 bootscrub=0 $LAB_XEN_ARGS" \
		-device "guest-loader,addr=0x49000000,kernel=$LAB_BUILD/Image,bootargs=$dom0" \
		-device "guest-loader,addr=0x4e000000,initrd=$LAB_BUILD/dom0.cpio.gz"
	if [ -n "$name" ]; then
		# QEMU's own tree, with what it says of the modules above, and more of them.
		tree=$LAB_BUILD/tree-$name.dtb
		timeout 60 qemu-system-aarch64 "$@" -machine dumpdtb="$tree" -serial none &&
			arm64_tree "$name" "$tree" || return 1
		set -- "$@" -dtb "$tree" $(arm64_modules "$name" |
			awk '{ print "-device loader,force-raw=on,file=" $2 ",addr=" $3 }')
	fi
	exec timeout --foreground -k 5 "${LAB_TIMEOUT:-86400}" qemu-system-aarch64 "$@" \
		-chardev stdio,id=console,signal=off -serial chardev:console
}
