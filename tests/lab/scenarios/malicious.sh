# SPDX-License-Identifier: MIT
# Labs: x86 arm64
# A backend that completes requests and keeps their pages mapped: the guest's disk goes on, no page is used for
# something else while the backend can see it, nothing is in it but what was mapped, another guest does not suffer, and
# what was held comes back when it is let go.
scenario() {
	local a b kept
	a=$(image a.raw 8)
	b=$(image b.raw 4)
	busybox mkfifo "$RUN/bad"
	[ ! -f /lab/Image-stock ] || GUEST_KERNEL=stock # the one with grantio.ko
	GRANTIOD_PROGRAM=grantiod-bad
	export GRANTIO_BAD_FIFO="$RUN/bad"
	grantiod_start || return 1
	guest_create g1 malicious "disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$a']" || return 1
	wait_until 60 guest_log_has g1 'GUEST ready' || { fail "the guest has no disk"; guest_tail g1; return 1; }
	bad "keep $(guest_domid g1)" keeps
	guest_create g2 copy "disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$b']" || return 1
	wait_until 90 guest_log_has g1 'GUEST quarantined' ||
		{ fail "nothing went to quarantine"; guest_tail g1; return 1; }
	guest_finish g2 90 && guest_log_has g2 "after $(sha256sum "$b" | cut -d' ' -f1)" ||
		{ fail "the other guest suffers"; return 1; }
	bad sums holds
	bad_said 'holds .* 0 show more than was mapped' 1 ||
		{ fail "the backend sees what was not mapped: $(grep 'bad: holds' "$RUN/grantiod.log")"; return 1; }
	signal_guest "$a" 8 fill
	wait_until 90 guest_log_has g1 'GUEST filled' ||
		{ fail "the guest cannot use its memory"; guest_tail g1; return 1; }
	bad check kept
	kept=$(sed -n 's/^bad: kept/kept/p' "$RUN/grantiod.log")
	case $kept in *", 0 have changed") say "$kept" ;; *) fail \
		"the guest used memory that the backend sees: $kept"; return 1 ;; esac
	bad "keep $(guest_domid g1)" 'keeps what d.* grants' 2
	signal_guest "$a" 8 unload
	wait_until 90 guest_log_has g1 'GUEST quarantined again' ||
		{ fail "the disk did not go on"; guest_tail g1; return 1; }
	bad drop dropped
	guest_finish g1 60
}
# bad COMMAND ANSWER [TIMES]: tell grantiod-bad, and wait for what it logs.
bad() { echo "$1" >"$RUN/bad" && wait_until 20 bad_said "bad: $2" "${3:-1}" || fail "no answer to '$1'"; }
bad_said() { [ "$(grep -c "$1" "$RUN/grantiod.log")" -ge "$2" ]; }
signal_guest() { printf '%-512s' "$3" | dd of="$1" bs=512 seek=$(($2 * 2048 - 1)) conv=notrunc,fsync 2>/dev/null; }
