#!/bin/bash
# SPDX-License-Identifier: MIT
# The examples of README.md and of the man pages that a machine without Xen can run, as they stand there: a shell that
# has grantio in its path, and an empty folder. Usage: examples.sh BUILD_DIR SOURCE_DIR
set -u
. "$(dirname "$0")/../host/machine.sh"
. "$(dirname "$0")/../host/tap.sh"

# The one fenced block behind a heading.
readme_block() {
	awk -v h="## $1" '
		$0 == h { in_part = 1; next }
		/^## / { in_part = 0 }
		in_part && /^```/ { n++; next }
		in_part && n == 1' "$source/README.md"
}
# The literal blocks of a page that hold a command of the model's.
page_block() { # PAGE
	awk '
		/^\.Bd -literal/ { block = ""; on = 1; next }
		/^\.Ed/ { if (on && block ~ /grantio model start/) printf "%s", block; on = 0 }
		on { block = block $0 "\n" }' "$source/docs/man/$1"
}

# A shell that runs a block from the beginning to its end, on a machine of its own. nbdkit is no program of ours: with
# sanitizers, theirs comes first.
run_block() { # BLOCK SAYS...
	local block=$1 here text status=0
	shift
	[ -n "$block" ] || { echo "there is no such block"; return 1; }
	here=$(mktemp -d "$work/example.XXXXXX")
	(
		cd "$here" || exit 1
		export GRANTIO_MACHINE=$here/machine PATH=$build/cli:$PATH sanitizer
		nbdkit() { ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 LD_PRELOAD=$sanitizer command nbdkit "$@"; }
		export -f nbdkit
		timeout -k 10 200 bash -eu -o pipefail -c "$block"
	) >"$here.out" 2>"$here.err" </dev/null || status=$?
	cat "$here.out" "$here.err"
	[ $status = 0 ] || return 1
	[ ! -e "$here/machine" ] || { echo "the machine is still there"; return 1; }
	for text; do grep -q -- "$text" "$here.out" || { echo "it does not say '$text'"; return 1; }; done
	! grep '^grantio: ' "$here.err"
}

source=$(realpath "$2")
machine_open "$1"
check 'README.md, the model by hand' run_block "$(readme_block 'The model, by hand')" 'xvda' 'export-size: 1073741824' \
	' IOPS, ' 'd1/xvda phase=served' '^grants_active'
check 'grantio(1), a machine without Xen' run_block "$(page_block grantio.1)" 'xvda' 'd1/xvda phase=served'
check 'nbdkit-grantio-plugin(1)' run_block "$(page_block nbdkit-grantio-plugin.1)" 'export-size: 67108864'
checks_end
