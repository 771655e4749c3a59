#!/bin/sh
# SPDX-License-Identifier: MIT
# Does `make install` install everything, and only where it should? Usage: test-install.sh BUILD
# Each check has one line; exit 1 if any failed. Nothing is installed on this machine: everything goes below
# BUILD/install-test.
set -u
cd "$(dirname "$0")/.." || exit 2
build=$1 root=$PWD/$1/install-test
. scripts/lib.sh
triplet=$(gcc -print-multiarch)
install_to() { # PREFIX
	rm -rf "$root"
	make -s install PREFIX="$1" DESTDIR="$root" BUILD="$build" >"$build/install-test.log" 2>&1 ||
		{ tail "$build/install-test.log"; return 1; }
	[ "$(grep -vc '^ninja: no work to do' "$build/install-test.log")" = 1 ] ||
		{ echo "  it says more than a line:"; head -n 5 "$build/install-test.log"; return 1; }
}
files() { # FILE...: these are there
	bad=0
	for file; do [ -s "$root$file" ] || { echo "  no $file"; bad=1; }; done
	return $bad
}
programs() { # PREFIX
	"$root$1/sbin/grantiod" --version | grep -q '^grantiod ' && "$root$1/bin/grantio" --version |
		grep -q '^grantio ' &&
		grep -qx "ExecStart=$1/sbin/grantiod --config /etc/grantio/grantiod.conf" "$root$2/grantiod.service"
}
# Files outside of the prefix may only be in the folders where other programs look for them.
elsewhere() { # PREFIX
	! find "$root" -type f | sed "s|^$root||" |
		grep -v -e "^$1/" -e '^/etc/grantio/' -e '^/etc/initramfs-tools/hooks/' -e '^/etc/systemd/system/'
}
# In a prefix where pkg-config looks by itself, which /opt is not, it must find the guest library.
pkg_config() { # PREFIX
	pkg-config --variable pc_path pkg-config | tr : '\n' | grep -qx "$1/lib/$triplet/pkgconfig" &&
		PKG_CONFIG_LIBDIR="$root$1/lib/$triplet/pkgconfig" PKG_CONFIG_SYSROOT_DIR=$root pkg-config \
		--cflags --libs grantio-guest | grep -q -e "-L$root$1/lib"
}
kept() {
	echo '# mine' >"$root/etc/grantio/grantiod.conf"
	make -s install PREFIX=/usr DESTDIR="$root" BUILD="$build" >/dev/null &&
		[ "$(cat "$root/etc/grantio/grantiod.conf")" = '# mine' ]
}

make -s build BUILD="$build" >/dev/null || exit 1 # what is new since the last time may have more to say
for prefix in /usr /usr/local /opt/grantio; do
	case $prefix in
	/usr) units=/usr/lib/systemd/system hooks=/usr/share/initramfs-tools/hooks ;;
	/usr/local) units=/usr/local/lib/systemd/system hooks=/etc/initramfs-tools/hooks ;;
	*) units=/etc/systemd/system hooks=/etc/initramfs-tools/hooks ;;
	esac
	install_to $prefix; report "make install PREFIX=$prefix, in one line" $?
	files $prefix/sbin/grantiod $prefix/bin/grantio "$prefix/lib/$triplet/grantio/libgrantio-model.so" \
		"$prefix/lib/$triplet/nbdkit/plugins/nbdkit-grantio-plugin.so" \
		"$prefix/lib/$triplet/libgrantio-guest.a" $prefix/include/grantio/os.h \
		$prefix/share/man/man8/grantiod.8 $prefix/share/man/man1/grantio.1 \
		$prefix/share/man/man1/nbdkit-grantio-plugin.1 /etc/grantio/grantiod.conf $units/grantiod.service \
		$hooks/grantio
	report "$prefix: all of it is there" $?
	elsewhere $prefix; report "$prefix: and nothing elsewhere" $?
	programs $prefix $units; report "$prefix: the programs run, and the unit starts that grantiod" $?
	[ $prefix = /opt/grantio ] || { pkg_config $prefix; report "$prefix: pkg-config finds the guest library" $?; }
	[ $prefix != /usr ] || { kept; report "settings that are there stay" $?; }
done
rm -rf "$root"
[ "$failed" = 0 ]
