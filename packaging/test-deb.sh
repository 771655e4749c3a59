#!/bin/sh
# SPDX-License-Identifier: MIT
# Are the Debian packages what they should be? Usage: test-deb.sh OUT   (deb.sh OUT has made them)
# Each check has one line; the last line is "N passed, N failed". Nothing is installed on this machine: the packages are
# unpacked below OUT/root.
set -u
. "$(dirname "$0")/../scripts/lib.sh"
cd "$1" || exit 2
out=$PWD root=$PWD/root
deb() { find "$out" -maxdepth 1 -name "$1_*.deb"; }

contents() { # PACKAGE PATTERN...: extended regular expressions of whole paths
	package=$1 bad=0; shift
	dpkg-deb -c "$(deb "$package")" | awk '{ print $6 }' | sed 's/^\.//' >"$out/contents"
	for pattern; do grep -Eqx "$pattern" "$out/contents" || { echo "  $package has no $pattern"; bad=1; }; done
	return $bad
}
lib='/usr/lib/[a-z0-9_]+-linux-gnu[a-z]*'

# The tag that is left out asks for the bug report that announces a new package to Debian: these are not uploaded there.
no_lintian() {
	lintian --fail-on warning --allow-root --suppress-tags initial-upload-closes-no-bugs "$(ls "$out"/*.changes)"
}

unpack() {
	rm -rf "$root"
	for d in "$out"/*.deb; do dpkg-deb -x "$d" "$root" || return 1; done
	twice=$(for d in "$out"/*.deb; do dpkg-deb -c "$d" | awk '/^[^d]/ { print $6 }'; done | sort | uniq -d)
	[ -z "$twice" ] || { echo "  in two packages: $twice"; return 1; }
}
version=$(dpkg-deb -f "$(deb grantiod)" Version)
upstream=${version%-*}
says() { # WANTED COMMAND...
	wanted=$1; shift
	said=$("$@" 2>&1) && case $said in "$wanted"*) return 0 ;; esac
	echo "  $*: $said"; return 1
}
pages() {
	bad=0
	for page in "$root"/usr/share/man/man*/*.gz; do
		gzip -dc "$page" >"$out/page"
		mandoc -T lint -W warning "$out/page" || bad=1
		warnings=$(groff -mandoc -ww -z -Tutf8 "$out/page" 2>&1)
		[ -z "$warnings" ] || { echo "  $page: $warnings"; bad=1; }
	done
	return $bad
}
# systemd-analyze loads units, and starts nothing. It looks for the program that a unit runs, so that the root gets the
# programs that are not ours.
unit() {
	mkdir -p "$root/etc" "$root/usr/bin" "$root/bin"
	cp -r /usr/lib/systemd "$root/usr/lib/" && cp /bin/kill "$root/bin/"
	[ -f "$root/lib/systemd/system/grantiod.service" ] &&
		cp "$root/lib/systemd/system/grantiod.service" "$root/usr/lib/systemd/system/"
	said=$(systemd-analyze verify --recursive-errors=no --man=no --root="$root" grantiod.service 2>&1)
	status=$?
	[ $status = 0 ] && ! echo "$said" | grep grantiod && return 0
	echo "$said" | sed 's/^/  /'
	return 1
}
# Does a program of a user of libgrantio-guest-dev compile and link? Only the services of its system are the user's own.
development() {
	printf '#include <grantio/dma.h>\n#include <grantio/virtio_blk.h>\n' >"$out/user.c"
	gcc -ffreestanding -std=c11 -Wall -Werror -c -o "$out/user.o" -I"$root/usr/include" "$out/user.c" &&
		nm "$(find "$root/usr/lib" -name libgrantio-guest.a)" 2>/dev/null | grep -q ' T gio_blk_submit$'
}
kernel_source() {
	dkms=$root/usr/src/grantio-$upstream
	for include in $(sed -n 's/^#include "\(.*\)"$/\1/p; s/^#include <\(abi\/.*\|grantio\/.*\)>$/\1/p' \
		"$dkms"/kmod/*.[ch] "$dkms"/guest/*/*.[ch] | sort -u); do
		find "$dkms" -path "*/${include#../}" | grep -q . ||
			{ echo "  $include is not among the sources"; return 1; }
	done
}
# Installing the package builds the module. A running grantiod is not restarted, since its guests use it.
scripts() {
	rm -rf "$out/scripts"
	dpkg-deb -e "$(deb grantio-dkms)" "$out/scripts" && grep -q 'dkms' "$out/scripts/postinst" || return 1
	dpkg-deb -e "$(deb grantiod)" "$out/scripts" &&
		grep -q 'deb-systemd-invoke start\|deb-systemd-invoke $_dh_action' "$out/scripts/postinst" || return 1
	! grep -q '_dh_action=restart' "$out/scripts/postinst"
}
conffile() { dpkg-deb -I "$(deb grantiod)" conffiles | grep -qx /etc/grantio/grantiod.conf; }
# grantiod must accept the configuration file that is installed, also with all of its commented settings put in force.
settings() {
	mkdir -p "$root/run/grantiod" "$root/srv/images" && : >"$root/srv/images/b.raw" &&
		: >"$root/srv/images/nested.raw"
	sed -e "s|/run/grantiod|$root&|; s|/srv/images|$root&|" "$root/etc/grantio/grantiod.conf" >"$out/settings"
	says grantiod "$root/usr/sbin/grantiod" --config "$out/settings" --version || return 1
	sed -i -E 's/^#([a-z-]+ =)/\1/' "$out/settings"
	says grantiod "$root/usr/sbin/grantiod" --config "$out/settings" --version
}

contents grantiod /usr/sbin/grantiod /etc/grantio/grantiod.conf '(/usr)?/lib/systemd/system/grantiod.service' \
	/usr/share/man/man8/grantiod.8.gz
report "grantiod: the daemon, its settings, its unit, its page" $?
contents grantio /usr/bin/grantio "$lib/grantio/libgrantio-model.so" /usr/share/man/man1/grantio.1.gz
report "grantio: the command, the model, its page" $?
contents grantio-dkms "/usr/src/grantio-$upstream/dkms.conf" "/usr/src/grantio-$upstream/kmod/main.c" \
	"/usr/src/grantio-$upstream/guest/grant/run.c" /usr/share/initramfs-tools/hooks/grantio
report "grantio-dkms: the module's source, the initramfs hook" $?
contents nbdkit-plugin-grantio "$lib/nbdkit/plugins/nbdkit-grantio-plugin.so" \
	/usr/share/man/man1/nbdkit-grantio-plugin.1.gz
report "nbdkit-plugin-grantio: the plugin, its page" $?
contents libgrantio-guest-dev "$lib/libgrantio-guest.a" /usr/include/grantio/os.h "$lib/pkgconfig/grantio-guest.pc"
report "libgrantio-guest-dev: the library, its headers" $?
no_lintian; report "lintian" $?
unpack; report "the packages unpack, and have no file in common" $?
says "grantiod $upstream" "$root/usr/sbin/grantiod" --version; report "grantiod --version" $?
says 'Usage: grantio' "$root/usr/bin/grantio" --help; report "grantio --help" $?
settings; report "grantiod.conf, and each setting that it shows" $?
conffile; report "grantiod.conf is the administrator's" $?
scripts; report "maintainer scripts: the module is built, a running grantiod is left alone" $?
pages; report "man pages: mandoc and groff" $?
unit; report "grantiod.service: systemd-analyze verify" $?
kernel_source; report "grantio-dkms has every file that it includes" $?
development; report "libgrantio-guest-dev compiles" $?
rm -rf "$root"
report_end
