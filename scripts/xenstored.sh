#!/bin/sh
# SPDX-License-Identifier: MIT
# Fetch Debian's own xenstored, which the store is held against (tests/unit/store/test_oracle.c), into DIR. Its package
# is not installed: it would bring init scripts to a machine without Xen. The libraries that it needs come with
# libxen-dev.
# Usage: xenstored.sh DIR
set -eu
dir=$1
ls "$dir"/usr/lib/xen-*/bin/xenstored >/dev/null 2>&1 && exit 0
package=xen-utils-$(pkg-config --modversion xencontrol | cut -d . -f 1,2)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
if ! { apt-get download "$package" || { apt-get update && apt-get download "$package"; }; } >"$work/log" 2>&1; then
	tail -n 1 "$work/log" >&2
	echo "xenstored.sh: no $package to be had: the test store-oracle will be skipped" >&2
	exit 0
fi
dpkg-deb --extract "$package"_*.deb "$work/all"
cd - >/dev/null
for binary in "$work"/all/usr/lib/xen-*/bin/xenstored; do
	install -D "$binary" "$dir/${binary#"$work"/all/}"
done
