#!/bin/sh
# SPDX-License-Identifier: MIT
# Static checks: every header compiles alone, external symbols carry their component's prefix, the guest library needs
# nothing but its system services, sources are formatted, no line is too long. One line for each check; exit 1 if any
# failed. See cross.sh, too.
# Usage: check.sh BUILD_ROOT   (BUILD_ROOT/release must be built)
set -u
build=$1
. "$(dirname "$0")/lib.sh"

kernel_headers="-I$build/release/tests/unit/kmod/shim_headers -Itests/unit/kmod/shim"
headers_alone() {
	bad=0
	for header in $(git ls-files 'include/*.h' 'guest/*.h' 'backend/*.h' 'model/*.h' 'cli/*.h' 'client/*.h' \
		'tests/*.h'); do
		case $header in include/*|guest/*) std=c11 ;; *) std=gnu11 ;; esac
		cc=gcc
		# For Xen's headers, which the cross compiler has none of.
		case $header in */arm64/*) cc='aarch64-linux-gnu-gcc -idirafter /usr/include' ;; esac
		# For the kernel's, in whose place the module's tests have their own.
		case $header in tests/unit/kmod/*) cc="gcc -Wno-unused-parameter $kernel_headers" ;; esac
		$cc -std=$std -D_GNU_SOURCE -Wall -Wextra -Werror -fsyntax-only -I. -Iinclude -x c "$header" || bad=1
	done
	return $bad
}

# Symbols that a library or program defines for others to see, without those of the C runtime and the sanitizers.
exported() {
	nm --defined-only --extern-only --format=posix "$@" 2>/dev/null |
		awk 'NF > 1 && $2 ~ /[TDBRVWC]/ { print $1 }' | sort -u
}

symbols() { # PREFIX-REGEX FILE...
	pattern=$1; shift
	wrong=$(exported "$@" | grep -Ev "$pattern")
	[ -z "$wrong" ] && return 0
	echo "$wrong" | sed 's/^/  without its prefix: /'
	return 1
}

# Versions of clang-format format the same style differently. Debian 12's version is the one that counts.
formatted() {
	case $(clang-format --version) in
	*version\ 14.*) ;;
	*)
		echo "  not looked at: this is not clang-format 14"
		return 0
		;;
	esac
	git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror
}

objects() { find "$build/release/$1" -name '*.o' ! -path '*/tests/*'; }

headers_alone; report "every header compiles alone" $?
symbols '^gio_' "$build/release/guest/libgrantio-guest.a"; report "symbols of the guest library: gio_" $?
symbols '^(gd_|main$)' $(objects backend); report "symbols of grantiod: gd_" $?
symbols '^(gm_|xen|gio_os_|main$)' $(objects model); report "symbols of the model: gm_, and the libxen* interface" $?
symbols '^gp_' $(objects client); report "symbols of the guest programs: gp_" $?
symbols '^(gc_|main$)' $(objects cli); report "symbols of the command line: gc_" $?
guest_needs "$build/release/guest/libgrantio-guest.a" nm; report "the guest library needs its system services only" $?
formatted; report "formatting" $?
./scripts/check_names.py; report "each name stands for one thing, and err for an error" $?
./scripts/check_circles.py; report "no room has a circle of modules" $?
./scripts/check_sizes.py; report "functions, files and comments are within their bounds" $?
./scripts/check_lines.py; report "no line is longer than 120 columns" $?
./scripts/check_docs.py; report "documents name pages, files and targets of make that exist" $?
./scripts/conformance.py; report "docs/conformance.md names code and tests that exist" $?
[ "$failed" = 0 ]
