#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Build grantio.ko with the headers of Debian's kernels, from the oldest to the newest, without a warning. Then look at
# it with sparse, checkpatch, modpost and DKMS, and at the names that it exports to the linker. The headers come from
# Debian's archive into the lab's cache (scripts/cache.sh).
# Usage: check_kmod.sh BUILD_ROOT [NAME...]; names as in `matrix`. The last line is "N passed, N failed".
set -u
cd "$(dirname "$0")/.."
build=$(mkdir -p "$1/kmod" && cd "$1/kmod" && pwd)
shift
. scripts/cache.sh
cache=$(mkdir -p "$LAB_CACHE/kmod" && cd "$LAB_CACHE/kmod" && pwd)
. tests/lab/lib/packages.sh
. tests/lab/lib/headers.sh
. scripts/lib.sh

# Kernels: name, suite, Debian's architecture, kbuild's, package of headers (or a pattern, of which the newest counts),
# compiler's prefix. "testing" has what the next Debian will. The pattern stands apart, since the line has no room.
newest=^linux-headers-6\\.12\\.[0-9]*[+]deb12-amd64$
matrix() {
	cat <<-LIST
		5.10-amd64	bullseye	amd64	x86	linux-headers-amd64	x86_64-linux-gnu-
		6.1-amd64	bookworm	amd64	x86	linux-headers-amd64	x86_64-linux-gnu-
		6.12-amd64	bookworm	amd64	x86	$newest	x86_64-linux-gnu-
		testing-amd64	testing	amd64	x86	linux-headers-amd64	x86_64-linux-gnu-
		6.12-armhf	trixie	armhf	arm	linux-headers-armmp-lpae	arm-linux-gnueabihf-
		6.1-arm64	bookworm	arm64	arm64	linux-headers-arm64	aarch64-linux-gnu-
		6.12-arm64	trixie	arm64	arm64	linux-headers-arm64	aarch64-linux-gnu-
		testing-arm64	testing	arm64	arm64	linux-headers-arm64	aarch64-linux-gnu-
	LIST
}
SPARSE="6.1-amd64 6.12-arm64" # whose headers sparse reads without complaints of its own
DKMS="6.1-amd64 6.12-amd64" # whose compiler Debian 12 has
XEN_VIRTIO="6.12-arm64"

# headers NAME SUITE DEBARCH PACKAGE: unpack the package; print its folder. Lists of packages that were fetched long ago
# may name some that are gone: they are fetched again, once.
headers() {
	local place
	place=$(headers_now "$@") || {
		rm -f "$cache/$2-$3/ready" "$cache/$2-amd64/ready"
		place=$(headers_now "$@")
	} && echo "$place"
}
# A mirror may have one of several lists in disorder. That is no reason to stop, if the package is found.
headers_now() {
	local apt=$cache/$2-$3 tools=$cache/$2-amd64 root=$cache/$1 package=$4
	apt_private "$apt" "$2" "$3" deb >&2
	apt_private "$tools" "$2" amd64 deb >&2
	case $package in
	^*)
		package=$(APT_CONFIG=$apt/apt.conf apt-cache search --names-only "$package" | cut -d' ' -f1 | sort -V |
			tail -n 1)
		;;
	*) package=$(headers_newest "$apt" "$package") ;;
	esac
	[ -n "$package" ] || { echo "no package $4 in $2" >&2; return 1; }
	headers_unpack "$apt" "$root" "$package" "$tools" >&2 && echo "$root/usr/src/$package"
}

kbuild() { # NAME ARGUMENT...: build the module as `make -C kmod` does for a person.
	local name=$1
	shift
	make -C kmod -j"$(nproc)" KDIR="${dir[$name]}" OUT="$build/$name" CC="${cross[$name]}gcc" \
		ARCH="${arch[$name]}" CROSS_COMPILE="${cross[$name]}" "$@"
}

# Kernels that were built by a newer compiler ask for options that this host's compiler does not know. These are left
# out; they do not change our code.
tolerate() { # NAME [FLAG]
	local cc="${cross[$1]}gcc" flags="-Werror ${2-}"
	echo 'int x;' | $cc -Werror -fmin-function-alignment=16 -xc -c -o /dev/null - 2>/dev/null ||
		echo "CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT="
	echo 'struct s { int n; int v[] __attribute__((__counted_by__(n))); };' |
		$cc -Werror -xc -c -o /dev/null - 2>/dev/null ||
		flags="$flags -Wno-attributes"
	echo "KCFLAGS=$flags"
}

# A module for each kernel. modpost's warnings are lines, not a status.
module() { # NAME
	local more
	mapfile -t more < <(tolerate "$1")
	kbuild "$1" "${more[@]}" >"$build/$1.log" 2>&1 && ! grep -i 'warning' "$build/$1.log" |
		grep -v 'pahole version differs'
}

# What the module defines for the linker to see; init_module, cleanup_module and __this_module are kbuild's.
prefixes() { # NAME
	local wrong
	wrong=$("${cross[$1]}nm" --defined-only --extern-only --format=posix "$build/$1"/kmod/*.o |
		awk 'NF > 1 { print $1 }' |
		grep -Ev -e '^(gk_|gio_|init_module$|cleanup_module$|__this_module$)' \
			-e '^__(mod_|module|key|export|pfx_|cfi_|CFI)' | sort -u)
	[ -z "$wrong" ] || { echo "$wrong" | sed 's/^/  without its prefix: /'; return 1; }
}

# Build as for a kernel with its own layer (CONFIG_XEN_VIRTIO), which no Debian kernel has: no part of the module may
# need what is left out then, and nothing calls of.c, since the devices of the device tree are the kernel's.
beside_xen_virtio() { # NAME
	local more
	mapfile -t more < <(tolerate "$1" -DCONFIG_XEN_VIRTIO=1)
	kbuild "$1" OUT="$build/$1-xen-virtio" "${more[@]}" >"$build/$1-xen-virtio.log" 2>&1 &&
		! grep -i 'warning' "$build/$1-xen-virtio.log" &&
		"${cross[$1]}nm" "$build/$1/kmod/main.o" | grep -q 'U gk_of_register' &&
		! "${cross[$1]}nm" "$build/$1-xen-virtio/kmod/main.o" | grep 'gk_of_'
}

# sparse looks at what is ours; the headers have complaints of their own.
sparse_clean() { # NAME
	local more
	mapfile -t more < <(tolerate "$1")
	kbuild "$1" "${more[@]}" C=2 CHECK=sparse >"$build/sparse.log" 2>&1 || return 1
	! grep -E "^$build/[^ ]*: (warning|error)" "$build/sparse.log"
}

# The kernel's checkpatch.pl comes in its source package only, of which three files are kept.
checkpatch_get() {
	local apt=$cache/bookworm-amd64 work=$cache/source
	[ -f "$cache/scripts/const_structs.checkpatch" ] && return 0
	apt_private "$apt" bookworm amd64 deb
	mkdir -p "$work" && (cd "$work" && APT_CONFIG=$apt/apt.conf apt-get -qq download linux-source-6.1) || return 1
	dpkg-deb --fsys-tarfile "$work"/linux-source-6.1_*.deb | tar -xO --wildcards './usr/src/linux-source-*.tar.xz' |
		xz -dc |
		tar -x -C "$cache" --strip-components=1 --wildcards '*/scripts/checkpatch.pl' '*/scripts/spelling.txt' \
		'*/scripts/const_structs.checkpatch'
	rm -r "$work"
}

# Not asked of it: layout, which is clang-format's (SPACING, CODE_INDENT, LEADING_SPACE, OPEN_BRACE, and LONG_LINE up to
# 120); what a module outside of the kernel's tree needs in compat.h (LINUX_VERSION_CODE, CONSTANT_COMPARISON on it,
# MACRO_WITH_FLOW_CONTROL in a macro that defines a function, DEPRECATED_API for kernels without the newer one);
# REPEATED_WORD, which does not know a table; FUNCTION_ARGUMENTS and COMPLEX_MACRO,
# which do not know that a macro may be a list of parameters.
checkpatch_clean() {
	perl "$cache/scripts/checkpatch.pl" --no-tree --no-summary --terse --show-types --file --max-line-length=120 \
		--ignore SPACING,CODE_INDENT,LEADING_SPACE,OPEN_BRACE,LINUX_VERSION_CODE,CONSTANT_COMPARISON \
		--ignore MACRO_WITH_FLOW_CONTROL,DEPRECATED_API,REPEATED_WORD,FUNCTION_ARGUMENTS,COMPLEX_MACRO \
		kmod/*.[ch] kmod/include/*.h
}

# As the administrator of a guest would do it, in folders of our own: DKMS builds the module from what packaging/dkms
# lays out, by the compiler that Debian's headers name.
dkms_builds() { # NAME
	local tree=$build/dkms-$1 version kernel=${dir[$1]##*/linux-headers-} module
	rm -rf "$tree"
	mkdir -p "$tree/dkms" "$tree/modules/${dir[$1]##*/linux-headers-}"
	packaging/dkms/install.sh "$tree" || return 1
	version=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' packaging/dkms/dkms.conf)
	for step in add build install; do
		dkms $step -m grantio -v "$version" -k "$kernel" -a x86_64 --kernelsourcedir "${dir[$1]}" \
			--dkmstree "$tree/dkms" --sourcetree "$tree/usr/src" --installtree "$tree/modules" \
			--no-depmod || return 1
	done
	module=$(find "$tree/modules/$kernel" -name 'grantio.ko*')
	[ -n "$module" ] || { echo "no grantio.ko in $tree/modules/$kernel"; return 1; }
	case $(modinfo -F vermagic "$module") in "$kernel "*) ;; *) echo "$module: for another kernel"; return 1 ;; esac
	[ -x "$tree/usr/share/initramfs-tools/hooks/grantio" ]
}

# present COMMAND WHAT: false, with a line, if a check cannot be made here.
present() { command -v "$1" >/dev/null || { echo "skip - $2: no $1 on this host"; return 1; }; }

declare -A dir arch cross
names=${*:-$(matrix | cut -f1)}
while IFS=$'\t' read -r name suite debarch karch package prefix; do
	case " $(echo $names) " in *" $name "*) ;; *) continue ;; esac
	command -v "${prefix}gcc" >/dev/null || { echo "skip - $name: no ${prefix}gcc on this host"; continue; }
	dir[$name]=$(headers "$name" "$suite" "$debarch" "$package" 2>"$build/$name.fetch") || {
		echo "skip - $name: its headers cannot be had: $(tail -n 1 "$build/$name.fetch")"
		unset "dir[$name]"
		continue
	}
	arch[$name]=$karch cross[$name]=$prefix
	version=${dir[$name]##*/linux-headers-}
	module "$name"
	report "grantio.ko for $version" $? "$build/$name.log"
	[ -f "$build/$name/kmod/grantio.ko" ] || continue
	prefixes "$name"; report "symbols of grantio.ko for $version: gk_, gio_" $?
	case " $XEN_VIRTIO " in *" $name "*)
		beside_xen_virtio "$name"
		report "grantio.ko for $version with CONFIG_XEN_VIRTIO" $? "$build/$name-xen-virtio.log"
	esac
	case " $SPARSE " in *" $name "*)
		! present sparse "sparse" || {
			sparse_clean "$name"
			report "sparse, with the headers of $version" $? "$build/sparse.log"
		}
	esac
	case " $DKMS " in *" $name "*)
		! { present dkms "DKMS for $version" && present gcc-12 "DKMS for $version"; } || {
			dkms_builds "$name" >"$build/dkms-$name.log" 2>&1
			report "DKMS for $version" $? "$build/dkms-$name.log"
		}
	esac
done < <(matrix)
if checkpatch_get >"$build/checkpatch.log" 2>&1; then
	checkpatch_clean
	report "checkpatch" $?
else
	echo "skip - checkpatch: it cannot be had: $(tail -n 1 "$build/checkpatch.log")"
fi
report_end
