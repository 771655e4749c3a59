# SPDX-License-Identifier: MIT
# Labs: x86 arm64
# With and without indirect descriptors the guest's I/O is correct, and after it only what is granted for as long as the
# guest has its disk is mapped: the rings; and by messages their two pages and the pool as well.
scenario() {
	without 0 && without 1 --indirect
}
without() { # BIT [OPTION]
	local disk mapped bit=$1
	shift
	disk=$(image "a$bit.raw" 8)
	grantiod_start "$@" || return 1
	guest_create "g$bit" rest "disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$disk']" || return 1
	wait_until 60 guest_log_has "g$bit" 'GUEST rests' || { fail "no I/O"; guest_tail "g$bit"; return 1; }
	guest_log_has "g$bit" "GUEST indirect $bit" ||
		{ fail "not what grantiod was told of indirect descriptors"; guest_tail "g$bit"; return 1; }
	guest_log_has "g$bit" "after $(sha256sum "$disk" | cut -d' ' -f1)" ||
		{ fail "the image is not what the guest wrote"; return 1; }
	mapped=$(mapped_grants "$(guest_domid "g$bit")" | wc -l)
	[ "$mapped" = "$(lasting "g$bit")" ] || { fail "mapped: $mapped, not $(lasting "g$bit")"; return 1; }
	guest_destroy "g$bit"
	no_leaks && grantiod_stop
}
# How many references last: by registers those of one queue of 256 descriptors, which has a page of descriptors, one of
# what is available and one of what is used. By messages nothing else is granted.
lasting() { # GUEST
	if driven_by_messages; then
		sed -n 's/.*GUEST rests, \(.*\) granted.*/\1/p' "$GUEST_LOG/guest-$1.log"
	else
		echo 3
	fi
}
driven_by_messages() { grep -q 'driven by messages' "$RUN/grantiod.log"; }
