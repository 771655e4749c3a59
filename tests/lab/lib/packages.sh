# SPDX-License-Identifier: MIT
# Debian packages of any suite and architecture, without touching the host's: a private apt configuration whose lists
# and downloads live in the lab's cache. Sourced by lab.sh.

# archive_site NAME: the archive of that name that this host itself uses.
archive_site() { apt-get indextargets --format '$(SITE)' | grep -m1 -E "/$1/?\$"; }

# locked FILE COMMAND...: one at a time, of all checkouts that share the cache. In a subshell.
locked() {
	local file=$1
	shift
	mkdir -p "$(dirname "$file")"
	(flock 9 && "$@") 9>"$file"
}

# apt_private DIR SUITE ARCH [TYPE...]: make DIR/apt.conf (once) and refresh its lists, of binary and source packages
# unless said otherwise, and of security updates unless APT_SECURITY is no. "testing" has no updates of its own, and its
# lists expire sooner than some mirrors follow. Lists that are a week old are fetched again; if that fails, they do for
# longer.
apt_private() {
	[ -z "$(find "$1/ready" -mtime -7 2>/dev/null)" ] || return 0
	locked "$1.lock" apt_private_new "$@" || [ -f "$1/ready" ]
}
apt_private_new() {
	local dir=$1 suite=$2 arch=$3 site key=/usr/share/keyrings/debian-archive-keyring.gpg type s suites security \
		expire=true
	shift 3
	[ -z "$(find "$dir/ready" -mtime -7 2>/dev/null)" ] || return 0 # another one's work, while we waited
	site=$(archive_site debian) || {
		echo "lab: this host's apt has no Debian archive to fetch from" >&2
		return 1
	}
	mkdir -p "$dir"/lists/partial "$dir"/cache/archives/partial "$dir"/state "$dir"/etc/apt.conf.d \
		"$dir"/etc/preferences.d "$dir"/etc/sources.list.d
	: >"$dir/state/status"
	case $suite in
	testing) suites=$suite security= expire=false ;;
	*) suites="$suite $suite-updates" security=$([ "${APT_SECURITY:-yes}" = no ] || archive_site debian-security) ;;
	esac
	for s in $suites; do
		for type in ${*:-deb deb-src}; do
			printf '%s [signed-by=%s] %s %s main\n' "$type" "$key" "$site" "$s"
		done
	done >"$dir/etc/sources.list"
	[ -z "$security" ] || printf 'deb [signed-by=%s] %s %s-security main\n' "$key" "$security" "$suite" \
		>>"$dir/etc/sources.list"
	cat >"$dir/apt.conf" <<-CONF
		Dir "$dir"; Dir::Etc "$dir/etc"; Dir::Etc::sourcelist "$dir/etc/sources.list";
		Dir::Etc::sourceparts "$dir/etc/sources.list.d";
		Dir::State "$dir/state"; Dir::State::lists "$dir/lists";
		Dir::State::status "$dir/state/status"; Dir::Cache "$dir/cache"; Acquire::Check-Valid-Until "$expire";
		APT::Architecture "$arch"; APT::Architectures "$arch"; APT::Sandbox::User "root";
		Acquire::Languages "none";
	CONF
	apt_update "$dir" && touch "$dir/ready"
}

# again COMMAND...: up to four times, with pauses that grow: mirrors and networks hiccup.
again() {
	local pause
	for pause in 3 10 30 0; do
		"$@" && return 0
		[ $pause = 0 ] || { echo "lab: '$*' failed; again in $pause s" >&2; sleep $pause; }
	done
	return 1
}
apt_update() { again env APT_CONFIG="$1/apt.conf" apt-get -qq -o APT::Update::Error-Mode=any update; }
apt_fetch() { # DIR PACKAGE...
	local dir=$1
	shift
	(cd "$dir/debs" && APT_CONFIG=$dir/apt.conf apt-get -qq -o Acquire::Retries=3 download "$@")
}

# apt_key DIR PACKAGE...: of their names and versions, to keep apart what was made of other ones.
apt_key() {
	local dir=$1
	shift
	APT_CONFIG=$dir/apt.conf apt-cache policy "$@" | grep -e '^[^ ]' -e '^ *Candidate:' | sha256sum | cut -c1-16
}

# apt_unpack DIR ROOT PACKAGE...: download what is not yet there, unpack it all into ROOT.
apt_unpack() { locked "$1.debs.lock" apt_unpack_now "$@"; }
apt_unpack_now() {
	local dir=$1 root=$2 package deb missing=
	shift 2
	mkdir -p "$dir/debs" "$root"
	for package; do [ -f "$root/.have-$package" ] || missing="$missing $package"; done
	[ -n "$missing" ] || return 0
	# Lists that are older than the archive name files that it no longer has: refresh them, then try again.
	apt_fetch "$dir" $missing || { apt_update "$dir" && again apt_fetch "$dir" $missing; } || {
		echo "lab: the archive does not give these packages (their names, or the network?):$missing" >&2
		return 1
	}
	for package in $missing; do
		deb=$(ls -t "$dir/debs/${package}"_*.deb | head -n 1)
		dpkg-deb -x "$deb" "$root" && touch "$root/.have-$package" || return 1
	done
}

# Versions and sources, for caching what is built from them.
apt_binary_version() { APT_CONFIG=$LAB_APT/apt.conf apt-cache policy "$1" | sed -n 's/ *Candidate: //p'; }
apt_source_fetch() { # PACKAGE FILE
	(cd "$LAB_APT/debs" && APT_CONFIG=$LAB_APT/apt.conf apt-get -qq -o Acquire::Retries=3 source \
		--download-only --only-source "$1") || [ -f "$2" ]
}
# An older file of the archive, by its path there: for when its newest source is not to be had. Checked by its sum.
apt_pool_fetch() { # PATH SHA256 FILE
	local site
	site=$(archive_site debian) && /usr/lib/apt/apt-helper download-file "${site%/}/$1" "$3.new" "SHA256:$2" >&2 &&
		mv "$3.new" "$3"
}

# apt_source_tarball PACKAGE [KNOWN SHA256]: fetch its upstream tarball; sets APT_TARBALL. The .dsc may be refused for
# the '+' in its name: not needed. Mirrors do not keep sources as current as packages: KNOWN is one that will do, too.
apt_source_tarball() {
	local name debs=$LAB_APT/debs known=
	name=$(APT_CONFIG=$LAB_APT/apt.conf apt-cache showsrc --only-source "$1" |
		grep -o '[^ ]*\.orig\.tar\.[a-z0-9]*$' | sort -uV | tail -n 1)
	[ -z "${2-}" ] || known=$debs/$(basename "$2")
	for APT_TARBALL in "$debs/$name" $known; do [ ! -f "$APT_TARBALL" ] || return 0; done
	APT_TARBALL=$debs/$name
	apt_source_fetch "$1" "$APT_TARBALL" && return 0
	if [ -n "$known" ] && apt_pool_fetch "$2" "$3" "$known"; then
		echo "lab: the archive does not give $name; taking $(basename "$known")" >&2
		APT_TARBALL=$known
		return 0
	fi
	again apt_source_fetch "$1" "$APT_TARBALL" ||
		{ echo "lab: the source of '$1' ($name) cannot be downloaded" >&2; return 1; }
}
