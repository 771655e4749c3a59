#!/bin/sh
# SPDX-License-Identifier: MIT
# Build Xen's own example policy with the grantio module in it. Needs checkpolicy, m4, make, and Xen's source of the
# version that will load the policy. Usage: build.sh XEN-SOURCE OUTPUT [MODULE-DIRECTORY]
set -eu
[ $# -ge 2 ] || { echo "usage: $0 XEN-SOURCE OUTPUT [MODULE-DIRECTORY]" >&2; exit 2; }
source=$1 output=$2
module=${3:-$(cd "$(dirname "$0")" && pwd)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir -p "$work/tools/flask" "$work/xen/xsm/flask" "$work/out"
cp -r "$source/tools/flask/policy" "$work/tools/flask/"
cp -r "$source/xen/xsm/flask/policy" "$work/xen/xsm/flask/"
cp "$module/grantio.te" "$module/grantio.if" "$work/tools/flask/policy/modules/"
echo 'grantio = on' >>"$work/tools/flask/policy/modules/modules.conf"
make -s -C "$work/tools/flask/policy" -f Makefile.common FLASK_BUILD_DIR="$work/out" XEN_FULLVERSION=grantio
cp "$work/out/xenpolicy-grantio" "$output"
