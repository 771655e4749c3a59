# SPDX-License-Identifier: MIT
# Labs: x86 arm64
# Disks that are offered without ACCESS_PLATFORM, without VERSION_1, or as legacy virtio-mmio, beside a good one: the
# guest refuses them, and never gives an address that is no grant.
scenario() {
	local disk name disks= refused
	export GRANTIO_BAD="xvdb=no-access-platform,xvdc=no-version-1,xvdd=legacy"
	GRANTIOD_PROGRAM=grantiod-bad
	for name in a b c d; do
		disk=$(image $name.raw 2)
		disks="$disks'$DISK_SPEC,access=rw,vdev=xvd$name,target=$disk',"
	done
	grantiod_start || return 1
	guest_create g1 refused "disk=[$disks]" || return 1
	guest_finish g1 60 || return 1
	guest_log_has g1 "disks 1, $(sha256sum "$RUN/a.raw" | cut -d' ' -f1)" ||
		{ fail "the guest has other disks"; guest_tail g1; return 1; }
	grep -a 'GUEST says' "$GUEST_LOG/guest-g1.log" | tr -d '\r' | while read -r line; do say "$line"; done
	[ "$(grep -c '^bad: .*/xvda: a driver came up' "$RUN/grantiod.log")" = 1 ] ||
		{ fail "no driver took the good disk"; return 1; }
	! grep -e 'at a guest address' -e 'all the same' "$RUN/grantiod.log" ||
		{ fail "$(grep '^bad' "$RUN/grantiod.log" | head -n 3)"; return 1; }
}
