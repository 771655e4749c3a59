# SPDX-License-Identifier: MIT
# Kernel headers out of Debian's packages, unpacked where nothing is installed. Sourced, after packages.sh.

# headers_newest APT META: the package of headers that a package such as linux-headers-amd64 stands for today.
headers_newest() {
	APT_CONFIG=$1/apt.conf apt-cache depends "$2" | sed -n 's/ *Depends: \(linux-headers-.*\)/\1/p' | head -n 1
}

# headers_unpack APT ROOT PACKAGE [TOOLS_APT]: unpack headers, and the programs that build with them, into ROOT. Those
# are taken from TOOLS_APT, of the host's architecture, where APT is of another. They name their folders by absolute
# paths: rewritten, so that they work where they are. A vmlinux among them is for BTF, which needs pahole.
headers_unpack() { locked "$2.headers.lock" headers_unpack_now "$@"; }
headers_unpack_now() {
	local apt=$1 root=$2 package=$3 tools=${4:-$1} dir=$2/usr/src/$3
	[ ! -f "$root/.headers-$package" ] || return 0
	apt_unpack "$apt" "$root" "$package" $(headers_needs "$apt" "$package" 'linux-headers-.*-common') || return 1
	apt_unpack "$tools" "$root" $(headers_needs "$apt" "$package" 'linux-kbuild-.*') || return 1
	sed -i "s#\([ =]\)/usr/src/#\1$root/usr/src/#" "$dir/Makefile"
	rm -f "$dir/vmlinux"
	headers_wrap "$tools" "$root" || return 1
	touch "$root/.headers-$package"
}
headers_needs() { APT_CONFIG=$1/apt.conf apt-cache depends "$2" | sed -n "s/ *Depends: \\($3\\)\$/\\1/p"; }

# headers_wrap APT ROOT: programs that want a newer C library than the host's run with their own suite's.
headers_wrap() {
	local apt=$1 root=$2 program loader
	find "$root"/usr/lib/linux-kbuild-* -type f -perm -100 | while read -r program; do
		head -c 4 "$program" | grep -q ELF && ldd "$program" 2>&1 | grep -q 'version .* not found' || continue
		apt_unpack "$apt" "$root" libc6 || return 1
		loader=$(find "$root/usr/lib" "$root/lib" -name ld-linux-x86-64.so.2 2>/dev/null | head -n 1)
		mv "$program" "$program.elf"
		printf '#!/bin/sh\nexec "%s" --library-path "%s" --argv0 "$0" "%s.elf" "$@"\n' "$loader" \
			"${loader%/*}" "$program" >"$program"
		chmod 755 "$program"
	done
}
