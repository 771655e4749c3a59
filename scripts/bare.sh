#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Make a bare Debian with a fresh copy of this tree in it, and run a command there as root: this shows what the project
# does on a new machine.
# Usage: bare.sh [--with PATH] SUITE COMMAND...   e.g. bare.sh trixie make run
#
# The copy has what git knows of the tree, and PATH of it, if that is named, even if git does not know it.
# The script needs root. The archive is the one that this host's own apt uses. The base system, and what apt has
# fetched, are kept in the cache ($LAB_CACHE, scripts/cache.sh). The root, its mounts and its processes end with this
# script: they are in namespaces of their own.
set -eu
cd "$(dirname "$0")/.."
with=
[ "${1-}" != --with ] || { with=${2-}; shift 2; }
[ $# -ge 2 ] || { echo "usage: bare.sh [--with PATH] SUITE COMMAND..." >&2; exit 2; }
suite=$1
shift
. scripts/cache.sh
. tests/lab/lib/packages.sh
[ "$(id -u)" = 0 ] || { echo "bare.sh: only root can make a chroot" >&2; exit 1; }
command -v debootstrap >/dev/null || ./scripts/setup.sh bare
cache=$LAB_CACHE/bare-$suite
mkdir -p "$cache/archives"
root=$(mktemp -d "${TMPDIR:-/var/tmp}/grantio-bare.XXXXXX")
trap 'rm -rf --one-file-system "$root"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

sources() {
	local site security
	site=$(archive_site debian) || {
		echo "bare.sh: this host's apt has no Debian archive to fetch from" >&2
		return 1
	}
	printf 'deb %s %s main\ndeb %s %s-updates main\n' "$site" "$suite" "$site" "$suite"
	security=$(archive_site debian-security) || return 0
	printf 'deb %s %s-security main\n' "$security" "$suite"
}

# The base is what debootstrap leaves, with certificates (the archive may be reached by https), and with what fetches a
# clone.
base() {
	local new=$cache/base.new
	[ ! -d "$cache/base" ] || return 0
	rm -rf "$new"
	debootstrap --variant=minbase --include=ca-certificates,git,make "$suite" "$new" "$(archive_site debian)" \
		>"$cache/debootstrap.log" 2>&1 ||
		{ tail -n 20 "$cache/debootstrap.log" >&2; echo "bare.sh: debootstrap of $suite failed" >&2; return 1; }
	mv "$new" "$cache/base"
}

# The chroot reaches the network as this host does. policy-rc.d keeps services from starting in it.
furnish() {
	sources >"$root/etc/apt/sources.list"
	apt-config dump | grep -iE '^(Acquire::[a-z]+::(Proxy|CAInfo|Verify)|Acquire::Retries)' \
		>"$root/etc/apt/apt.conf.d/host" || :
	cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
	cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
	find /usr/local/share/ca-certificates -name '*.crt' -exec cp {} "$root/usr/local/share/ca-certificates/" \; \
		2>/dev/null || :
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
	chmod 755 "$root/usr/sbin/policy-rc.d"
	# debootstrap leaves some of these there. On another file system they are copied.
	find "$cache/archives" -name '*.deb' -exec ln -f -t "$root/var/cache/apt/archives" {} + 2>/dev/null ||
		find "$cache/archives" -name '*.deb' -exec cp -t "$root/var/cache/apt/archives" {} +
	mkdir "$root/root/grantio"
	git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -P -t "$root/root/grantio"
	[ -z "$with" ] || cp -r --parents -t "$root/root/grantio" "$with"
	(cd "$root/root/grantio" && git init -q -b main && git add -A &&
		git -c user.name=bare -c user.email=bare@localhost commit -q -m 'the tree under test')
}

(flock 9 && base) 9>"$cache/lock"
cp -a --reflink=auto "$cache/base/." "$root/"
furnish
status=0
env -i HOME=/root TERM=dumb PATH=/usr/sbin:/usr/bin:/sbin:/bin http_proxy="${http_proxy:-}" \
	https_proxy="${https_proxy:-}" unshare --mount --pid --fork --kill-child=KILL --propagation private bash -ec '
	root=$1
	shift
	mount -t proc proc "$root/proc"
	mount --bind /sys "$root/sys"
	mount --rbind /dev "$root/dev"
	mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
	mount -t tmpfs -o mode=755 run "$root/run"
	mkdir -p "$root/run/lock"
	cd "$root"
	exec chroot "$root" sh -c "cd /root/grantio && exec \"\$@\"" sh "$@"' bare "$root" "$@" || status=$?
find "$root/var/cache/apt/archives" -maxdepth 1 -name '*.deb' -exec mv -n -t "$cache/archives" {} + 2>/dev/null || :
find "$cache/archives" -name '*.deb' -mtime +60 -delete
exit $status
