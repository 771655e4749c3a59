# SPDX-License-Identifier: MIT
# Labs: x86 arm64
# grantiod is killed, or stopped, in the middle of I/O and another one goes on where it ended, seven times: the guests
# lose no request and no disk, and every byte is right. Two disks; on Arm a mainline and a stock guest at once. There
# I/O goes straight from and to the stock guest's pool, by registered buffers, and dom0's kernel has nothing to say of
# pages that were pinned when grantiod was killed.
scenario() {
	local a b c round disks=2
	a=$(image a.raw 2)
	b=$(image b.raw 1)
	c=$(image c.raw 2)
	mkdir "$RUN/state"
	successor || return 1
	GUEST_ADD=fio
	guest_create g1 resume "$(disks_line "rw xvda $a" "rw xvdb $b")" || return 1
	if [ -f /lab/Image-stock ]; then
		GUEST_KERNEL=stock disks=3
		guest_create g2 resume "disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$c']" && at_work g2 || return 1
	fi
	at_work g1 || return 1
	for round in 1 2 3 4 5 6 7; do
		wait_until 30 busy || {
			grantio disk stats --control "$RUN/control" | cut -c1-120 >"$RUN/stats"
			fail "round $round: no requests come: $(tr '\n' ';' <"$RUN/stats")"
			guest_tail g1
			return 1
		}
		[ "$disks" = 2 ] || straight || return 1
		kill $([ $((round % 3)) = 0 ] || echo -9) "$GRANTIOD"
		wait "$GRANTIOD"
		successor && wait_until 20 all_go_on || {
			fail "round $round: $(grep '^<[0-5]>' "$RUN/grantiod.log" | tr '\n' ';')"
			return 1
		}
	done
	enough g1 && { [ "$disks" = 2 ] || enough g2; } || return 1
	guest_finish g1 120 && right g1 "$a" || return 1
	[ "$disks" = 2 ] || { guest_finish g2 60 && right g2 "$c"; } || return 1
	[ "$disks" = 2 ] || { guest_by_messages g2 1 && kernel_clean; } || return 1
	wait_until 20 no_guests && [ -z "$(ls "$RUN/state")" ] ||
		{ fail "ledgers are left: $(ls "$RUN/state" | tr '\n' ' ')"; return 1; }
	say "$round times"
}
successor() { grantiod_start --state-dir "$RUN/state"; }
straight() {
	grantio disk stats --control "$RUN/control" | grep "^d$(guest_domid g2)/xvda " >"$RUN/stats"
	grep -q ' straight=[1-9][0-9]* registered=[1-9]' "$RUN/stats" ||
		fail "round $round: I/O does not go straight to the pool: $(cut -c1-240 "$RUN/stats")"
}
kernel_clean() {
	! dmesg | grep -e BUG: -e WARNING: -e 'Bad page' -e 'still in use' >"$RUN/kernel" ||
		fail "dom0's kernel: $(head -n 1 "$RUN/kernel")"
}
enough() { echo enough >"$(xenstore-read "/local/domain/$(guest_domid "$1")/console/tty")"; } # NAME
# NAME
at_work() { wait_until 60 guest_log_has "$1" 'GUEST at work' || { fail "$1 has no disk"; guest_tail "$1"; return 1; }; }
all_go_on() { [ "$(grep -c 'going on where a former grantiod ended' "$RUN/grantiod.log")" = "$disks" ]; }
# This one has done some requests of each guest's.
busy() {
	! grantio disk stats --control "$RUN/control" | sed -n 's/.*xvda .*requests=\([0-9]*\).*/\1/p' |
		awk '$1 < 40 { few = 1 } END { exit !(few || !NR) }'
}
# NAME IMAGE
right() {
	guest_log_has "$1" "after $(sha256sum "$2" | cut -d' ' -f1)" ||
		{ fail "the image is not what $1 wrote"; guest_tail "$1"; return 1; }
}
