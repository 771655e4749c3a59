# SPDX-License-Identifier: MIT
# fio for the lab's guests: one static program out of Debian 12's source, as the package needs 50 MB of libraries for
# engines that no guest here has. Built once for each architecture. Sourced by lab.sh.

FIO_OPTIONS='--build-static --disable-native --disable-numa --disable-rdma --disable-rados --disable-rbd --disable-http
--disable-gfapi --disable-libnfs --disable-pmem --disable-libzbc --disable-xnvme --disable-tcmalloc --disable-lex
--disable-shm --disable-dfs --extra-cflags=-w'

# lab_fio CROSS: $LAB_BUILD/fio, for the lab's architecture.
lab_fio() {
	local cross=$1 out src=$LAB_BUILD/fio-src LAB_APT=$LAB_CACHE/bookworm-amd64
	out=$LAB_CACHE/$LAB_DEBARCH-fio-$(echo $FIO_OPTIONS | sha256sum | cut -c1-16)
	if [ ! -f "$out" ]; then
		apt_private "$LAB_APT" bookworm amd64 && mkdir -p "$LAB_APT/debs" && apt_source_tarball fio || return 1
		rm -rf "$src" && mkdir -p "$src" && tar -xf "$APT_TARBALL" -C "$src" --strip-components=1 || return 1
		(cd "$src" && ./configure --cc="${cross}gcc" $FIO_OPTIONS && make -j2 fio && "${cross}strip" fio &&
			cp fio "$out.new") || return 1
		mv "$out.new" "$out"
		rm -rf "$src"
	fi
	cp "$out" "$LAB_BUILD/fio"
}

# fio_image OUT: a cpio with fio, to be added to a guest's.
fio_image() {
	local tree=$LAB_BUILD/fio-tree
	rm -rf "$tree" && mkdir -p "$tree/bin" && cp "$LAB_BUILD/fio" "$tree/bin/" && initramfs_pack "$tree" "$1"
}
