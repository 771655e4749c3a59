# SPDX-License-Identifier: MIT
# Labs: x86 arm64
# With and without indirect descriptors the guest's I/O is correct, and after it only the rings are mapped.
scenario() {
	without 0 && without 1 --indirect
}
without() { # BIT [OPTION]
	local disk bit=$1
	shift
	disk=$(image "a$bit.raw" 8)
	grantiod_start "$@" || return 1
	guest_create "g$bit" rest "disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$disk']" || return 1
	wait_until 60 guest_log_has "g$bit" 'GUEST rests' || { fail "no I/O"; guest_tail "g$bit"; return 1; }
	guest_log_has "g$bit" "GUEST indirect $bit" ||
		{ fail "not what grantiod was told of indirect descriptors"; guest_tail "g$bit"; return 1; }
	guest_log_has "g$bit" "after $(sha256sum "$disk" | cut -d' ' -f1)" ||
		{ fail "the image is not what the guest wrote"; return 1; }
	# One queue of 256 descriptors: a page of descriptors, one of what is available, one of what is used.
	[ "$(mapped_grants "$(guest_domid "g$bit")" | wc -l)" = 3 ] ||
		{ fail "mapped: $(mapped_grants "$(guest_domid "g$bit")" | tr '\n' ' ')"; return 1; }
	guest_destroy "g$bit"
	no_leaks && grantiod_stop
}
