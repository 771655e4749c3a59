#!/bin/sh
# SPDX-License-Identifier: MIT
# Install what the release build has made. Usage: install.sh BUILD_DIR PREFIX DESTDIR
# Below PREFIX: grantiod, grantio, the model's library, the nbdkit plugin, the guest library, the man pages. The
# service's unit, its settings and the hook for initramfs-tools go to where these are looked for. Settings that are
# there already are an administrator's, and stay.
set -eu
build=$1 prefix=$2 dest=$3
top=$(cd "$(dirname "$0")/.." && pwd)
[ -z "$dest" ] || { mkdir -p "$dest" && dest=$(cd "$dest" && pwd); } # meson would take it from the build's folder
case $prefix in /*) ;; *) echo "install.sh: PREFIX '$prefix': must be an absolute path" >&2; exit 2 ;; esac

# Debian's folder of libraries, whether dpkg-dev is installed or not; elsewhere meson's own.
libdir=
triplet=$(${CC:-gcc} -print-multiarch 2>/dev/null || :)
[ -z "$triplet" ] || [ ! -d "/usr/lib/$triplet" ] || libdir=-Dlibdir=lib/$triplet

log=$build/install.log
run() { "$@" >"$log" 2>&1 || { tail -n 30 "$log" >&2; echo "install.sh: '$*' failed" >&2; exit 1; }; }
run meson configure "$build" "-Dprefix=$prefix" $libdir
run env DESTDIR="$dest" meson install -C "$build"

case $prefix in
/usr) units=/usr/lib/systemd/system hooks=/usr/share/initramfs-tools/hooks ;;
/usr/local) units=/usr/local/lib/systemd/system hooks=/etc/initramfs-tools/hooks ;;
*) units=/etc/systemd/system hooks=/etc/initramfs-tools/hooks ;;
esac
run install -d "$dest$units" "$dest$hooks" "$dest/etc/grantio"
sed "s|^ExecStart=/usr/sbin/|ExecStart=$prefix/sbin/|" "$top/packaging/debian/grantiod.service" \
	>"$dest$units/grantiod.service"
chmod 644 "$dest$units/grantiod.service"
run install -m 755 "$top/packaging/initramfs-tools/grantio" "$dest$hooks/grantio"
settings=$dest/etc/grantio/grantiod.conf
[ -e "$settings" ] || run install -m 644 "$top/packaging/debian/grantiod.conf" "$settings"
next="systemctl daemon-reload && systemctl enable --now grantiod && $prefix/bin/grantio doctor"
echo "installed below $dest$prefix; next: $next"
