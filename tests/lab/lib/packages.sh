# SPDX-License-Identifier: MIT
# Debian packages of any suite and architecture, without touching the host's: a private apt configuration whose lists and
# downloads live in the lab's cache. Sourced by lab.sh.

# archive_site NAME: the archive of that name that this host itself uses.
archive_site() { apt-get indextargets --format '$(SITE)' | grep -m1 -E "/$1/?\$"; }

# apt_private DIR SUITE ARCH: make DIR/apt.conf (once) and refresh its lists.
apt_private() {
	local dir=$1 suite=$2 arch=$3 site key=/usr/share/keyrings/debian-archive-keyring.gpg s
	[ -f "$dir/ready" ] && return 0
	site=$(archive_site debian) || { echo "lab: this host's apt has no Debian archive to fetch from" >&2; return 1; }
	mkdir -p "$dir"/lists/partial "$dir"/cache/archives/partial "$dir"/state "$dir"/etc/apt.conf.d \
		"$dir"/etc/preferences.d "$dir"/etc/sources.list.d
	: >"$dir/state/status"
	for s in "$suite" "$suite-updates"; do
		printf '%s [signed-by=%s] %s %s main\n' deb "$key" "$site" "$s" deb-src "$key" "$site" "$s"
	done >"$dir/etc/sources.list"
	site=$(archive_site debian-security) && printf 'deb [signed-by=%s] %s %s-security main\n' "$key" "$site" "$suite" >>"$dir/etc/sources.list"
	cat >"$dir/apt.conf" <<-CONF
		Dir "$dir"; Dir::Etc "$dir/etc"; Dir::Etc::sourcelist "$dir/etc/sources.list";
		Dir::Etc::sourceparts "$dir/etc/sources.list.d"; Dir::State "$dir/state"; Dir::State::lists "$dir/lists";
		Dir::State::status "$dir/state/status"; Dir::Cache "$dir/cache";
		APT::Architecture "$arch"; APT::Architectures "$arch"; APT::Sandbox::User "root"; Acquire::Languages "none";
	CONF
	APT_CONFIG=$dir/apt.conf apt-get -qq update && touch "$dir/ready"
}

# apt_unpack DIR ROOT PACKAGE...: download what is not yet there, unpack it all into ROOT.
apt_unpack() {
	local dir=$1 root=$2 package deb
	shift 2
	mkdir -p "$dir/debs" "$root"
	for package; do
		[ -f "$root/.have-$package" ] && continue
		(cd "$dir/debs" && APT_CONFIG=$dir/apt.conf apt-get -qq download "$package") || {
			echo "lab: package '$package' cannot be downloaded" >&2
			return 1
		}
		deb=$(ls -t "$dir/debs/${package}"_*.deb | head -n 1)
		dpkg-deb -x "$deb" "$root" && touch "$root/.have-$package" || return 1
	done
}

# Versions and sources, for caching what is built from them.
apt_binary_version() { APT_CONFIG=$LAB_APT/apt.conf apt-cache policy "$1" | sed -n 's/ *Candidate: //p'; }
apt_source_version() { APT_CONFIG=$LAB_APT/apt.conf apt-cache showsrc --only-source "$1" | sed -n 's/^Version: //p' | sort -V | tail -n 1; }

# apt_source_tarball PACKAGE: fetch its upstream tarball; sets APT_TARBALL. The .dsc may be refused for the '+' in its name: not needed.
apt_source_tarball() {
	local version
	version=$(apt_source_version "$1")
	APT_TARBALL=$LAB_APT/debs/$1_${version%-*}.orig.tar.xz
	[ -f "$APT_TARBALL" ] || (cd "$LAB_APT/debs" && APT_CONFIG=$LAB_APT/apt.conf apt-get -qq source --download-only --only-source "$1") || :
	[ -f "$APT_TARBALL" ] || { echo "lab: the source of '$1' $version cannot be downloaded" >&2; return 1; }
}
