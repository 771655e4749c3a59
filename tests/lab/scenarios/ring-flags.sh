# SPDX-License-Identifier: MIT
# Labs: x86 arm64
# Limit: 900
# A backend that sets and clears NEXT in the guest's descriptors before it completes a request, and writes the available
# ring: Xen refuses it, every grant of a completed request has ended, and the guest lives. Linux takes from the
# descriptors what it unmaps.
scenario() {
	local a
	a=$(image a.raw 8)
	[ ! -f /lab/Image-stock ] || GUEST_KERNEL=stock # the one with grantio.ko
	GRANTIOD_PROGRAM=grantiod-bad
	export GRANTIO_BAD="xvda=ring-flags"
	grantiod_start || return 1
	unset GRANTIO_BAD
	guest_create g1 ring-flags "disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$a']" || return 1
	guest_finish g1 240 || return 1
	grep -q 'bad: .*: \([0-9]*\) of \1 descriptors are refused, the available ring is refused' \
		"$RUN/grantiod.log" ||
		fail "the backend wrote the ring: $(grep '^bad:' "$RUN/grantiod.log" | tr '\n' ';')"
}
