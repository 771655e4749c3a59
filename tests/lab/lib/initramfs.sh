# SPDX-License-Identifier: MIT
# Initial RAM disks made of busybox, chosen programs with the libraries they name, and kernel modules. Works for any
# architecture: libraries are found by reading ELF headers, never by running anything. Sourced by lab.sh.

BUSYBOX_APPLETS='sh mount umount mkdir ls cat echo sleep insmod rmmod lsmod grep sed awk cut dd cp rm mv ln ps kill
poweroff reboot dmesg md5sum sha256sum sync head tail tr wc test [ mknod true false printf date timeout seq expr cmp od
hexdump find xargs diff env uname id chmod tee sort uniq losetup pidof stat df free setsid touch basename dirname
readlink mkfifo sysctl cttyhack stty vi more chroot'

# initramfs_new DIR ROOT: a tree with busybox out of ROOT.
initramfs_new() {
	local dir=$1 root=$2 applet
	rm -rf "$dir"
	mkdir -p "$dir"/bin "$dir"/proc "$dir"/sys "$dir"/dev "$dir"/run "$dir"/tmp "$dir"/etc "$dir"/mnt "$dir"/usr \
		"$dir"/var/log/xen/console "$dir"/var/lib/xen
	ln -s ../run "$dir/var/run"
	ln -s ../bin "$dir/usr/bin"
	ln -s bin "$dir/sbin"
	cp "$(find "$root/bin" "$root/usr/bin" -name busybox 2>/dev/null | head -n 1)" "$dir/bin/busybox"
	for applet in $BUSYBOX_APPLETS; do ln -s busybox "$dir/bin/$applet"; done
}

elf_needed() { readelf -d "$1" 2>/dev/null | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }
elf_loader() { readelf -l "$1" 2>/dev/null | sed -n 's/.*program interpreter: \(.*\)\]/\1/p'; }

# initramfs_libraries DIR FILE LIBDIR...: copy the loader and, recursively, every library that FILE names into DIR/lib.
initramfs_libraries() {
	local dir=$1 file=$2 name found place
	shift 2
	local loader
	loader=$(elf_loader "$file")
	if [ -n "$loader" ] && [ ! -e "$dir$loader" ]; then
		mkdir -p "$dir$(dirname "$loader")"
		for place; do
			[ -e "$place/$(basename "$loader")" ] &&
				{ cp -L "$place/$(basename "$loader")" "$dir$loader"; break; }
		done
	fi
	for name in $(elf_needed "$file"); do
		[ -e "$dir/lib/$name" ] && continue
		found=
		for place; do
			[ -e "$place/$name" ] && { found=$place/$name; break; }
		done
		[ -n "$found" ] || {
			echo "lab: $(basename "$file") needs $name, which no package here has" >&2
			return 1
		}
		mkdir -p "$dir/lib"
		cp -L "$found" "$dir/lib/$name"
		initramfs_libraries "$dir" "$found" "$@" || return 1
	done
}

# initramfs_program DIR FILE LIBDIR...: a program into DIR/bin, with what it needs.
initramfs_program() {
	local dir=$1 file=$2
	shift 2
	mkdir -p "$dir/bin"
	cp -L "$file" "$dir/bin/"
	initramfs_libraries "$dir" "$file" "$@"
}

# initramfs_modules DIR ROOT VERSION MODULE...: modules with what they depend on; /etc/modules lists them in load order.
initramfs_modules() {
	local dir=$1 root=$2 version=$3 module path
	shift 3
	[ -f "$root/lib/modules/$version/modules.dep" ] || depmod -b "$root" "$version"
	for module; do
		modprobe -d "$root" -S "$version" --show-depends "$module" 2>/dev/null |
			awk '$1 == "insmod" { print $2 }'
	done | awk '!seen[$0]++' | while read -r path; do
		mkdir -p "$dir$(dirname "${path#"$root"}")"
		cp "$path" "$dir${path#"$root"}"
		path=${path#"$root"}
		case $path in *.xz) unxz "$dir$path" && path=${path%.xz} ;; esac # busybox inserts plain ones only
		echo "$path"
	done >"$dir/etc/modules"
}

# initramfs_grantio DIR: have grantio.ko, which lies in DIR's /lib/modules, loaded before the drivers of its devices,
# but after virtio.ko and virtio_ring.ko, which it needs where they are modules.
initramfs_grantio() {
	local last
	last=$(grep -E '/virtio(_ring)?\.ko' "$1/etc/modules" | tail -n 1)
	if [ -n "$last" ]; then
		sed -i "\\#^$last\$#a /lib/modules/grantio.ko" "$1/etc/modules"
	else
		sed -i '1i /lib/modules/grantio.ko' "$1/etc/modules"
	fi
}

# initramfs_pack DIR FILE: a cpio; compressed if FILE ends in .gz.
initramfs_pack() {
	case $2 in
	*.gz) (cd "$1" && find . | cpio -o -H newc --quiet) | gzip -1 >"$2" ;;
	*) (cd "$1" && find . | cpio -o -H newc --quiet) >"$2" ;;
	esac
}
