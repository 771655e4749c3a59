#!/bin/sh
# SPDX-License-Identifier: MIT
# Build the Debian packages of this tree. Usage: deb.sh OUT
# The tree itself is not touched: what git knows of it is copied to OUT/source, where packaging/debian becomes debian/.
# OUT/*.deb are this run's.
set -eu
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
rm -rf "$out/source" "$out"/*.deb "$out"/*.changes "$out"/*.buildinfo
mkdir "$out/source"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -P -t "$out/source"
cp -r packaging/debian "$out/source/debian"
cd "$out/source"
# The version stands in three places, which must agree.
version=$(sed -n "s/^project(.* version: '\([^']*\)'.*/\1/p" meson.build)
for said in "$(dpkg-parsechangelog -S Version | sed 's/-[^-]*$//')" \
	"$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' packaging/dkms/dkms.conf)"; do
	[ "$said" = "$version" ] || { echo "deb.sh: version '$said': meson.build has '$version'" >&2; exit 1; }
done
# Settings of the make that calls this script must not reach the build.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES BUILD
dpkg-buildpackage -us -uc -b >"$out/build.log" 2>&1 || { tail -n 40 "$out/build.log" >&2; exit 1; }
cd "$out"
ls ./*.deb
