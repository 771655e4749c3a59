#!/bin/sh
# SPDX-License-Identifier: MIT
# Lay out what a guest needs for grantio.ko: install.sh DESTDIR. Then, in the guest: dkms install grantio/VERSION.
# Packages use it, and so can a person, with DESTDIR "".
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
version=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' "$top/packaging/dkms/dkms.conf")
src=$1/usr/src/grantio-$version
mkdir -p "$src/kmod/include" "$src/guest/grant" "$src/guest/dma" "$src/guest/virtio" "$src/include/abi" \
	"$src/include/grantio"
cp "$top"/kmod/*.[ch] "$top/kmod/Makefile" "$src/kmod/"
cp "$top"/kmod/include/*.h "$src/kmod/include/"
cp "$top"/guest/grant/*.[ch] "$src/guest/grant/"
cp "$top"/guest/dma/*.[ch] "$src/guest/dma/"
cp "$top"/include/abi/*.h "$src/include/abi/"
cp "$top"/include/grantio/*.h "$src/include/grantio/"
cp "$top"/guest/virtio/msg_bus.[ch] "$top"/guest/virtio/msg_driver.[ch] "$top/guest/virtio/shared.h" \
	"$src/guest/virtio/"
cp "$top/packaging/dkms/dkms.conf" "$src/"
install -D -m 755 "$top/packaging/initramfs-tools/grantio" "$1/usr/share/initramfs-tools/hooks/grantio"
