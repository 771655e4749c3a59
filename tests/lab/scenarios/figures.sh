# SPDX-License-Identifier: MIT
# Labs: none (`make bench` runs it by name)
# Limit: 1500
# What grantiod's disk and xen-blkback's do on the same loop device, in the same guest, in turn; what a request costs
# grantiod. A line for each run: "figure DISK RW BS DEPTH IOPS REQUESTS INTERRUPTS", those of grantiod with its
# counters before and after. figures-queues.sh and figures-transient.sh are the same with another $FIGURES_VCPUS (and so
# as many queues of each disk) and another $FIGURES_PERSISTENT (whether blkback keeps grants mapped).
FIGURES_VCPUS=1 FIGURES_PERSISTENT=1
scenario() {
	local loop domid tty runs=0 before after
	image a.raw 32 >/dev/null
	dd if=/dev/urandom of="$RUN/a.raw" bs=1M count=32 conv=notrunc 2>/dev/null
	loop=$(losetup -f)
	losetup "$loop" "$RUN/a.raw" || { fail "losetup $loop"; return 1; }
	grantiod_start || return 1
	GUEST_ADD=fio
	echo "$FIGURES_PERSISTENT" >/sys/module/xen_blkback/parameters/feature_persistent
	guest_create g1 figures "vcpus=$FIGURES_VCPUS" \
		"disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$loop','phy:$loop,xvdb,w']" || return 1
	domid=$(guest_domid g1)
	tty=$(xenstore-read "/local/domain/$domid/console/tty")
	while guest_waits $((runs + 1)); do
		before=$(counters)
		runs=$((runs + 1))
		echo go >"$tty"
		wait_until 60 figures_are "$runs" || { fail "run $runs did not end"; guest_tail g1; return 1; }
		after=$(counters)
		say "figure $(figure_last) | $before | $after"
	done
	guest_finish g1 30 || return 1
	losetup -d "$loop"
	[ $runs = 48 ] || { fail "$runs runs, not 48"; return 1; }
}
guest_waits() { wait_until 60 guest_asked "$1" && [ "$(guest_count 'GUEST ready')" = "$1" ]; }
guest_asked() { [ "$(guest_count 'GUEST ready')" -ge "$1" ] || guest_log_has g1 -e 'GUEST ok' -e 'GUEST failed'; }
guest_count() { grep -c "$1" "$GUEST_LOG/guest-g1.log"; }
figures_are() { [ "$(guest_count 'GUEST figure')" -ge "$1" ]; }
figure_last() { grep 'GUEST figure' "$GUEST_LOG/guest-g1.log" | tail -n 1 | tr -d '\r' | sed 's/.*GUEST figure //'; }
counters() { grantio disk stats --control "$RUN/control" | head -n 1; }
