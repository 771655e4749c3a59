# SPDX-License-Identifier: MIT
# Labs: arm64
# grantiod is stopped, or killed, and started while no guest is attached. Each new grantiod serves the next guest as the
# first one did, and also a guest that was created while no grantiod ran. (restart.sh, on x86, restarts it under running
# guests, whose disks grantio.ko brings back.)
scenario() {
	local disk early
	disk=$(image a.raw 4)
	grantiod_start && served g1 || return 1
	grantiod_stop && grantiod_start && served g2 || return 1
	kill -9 "$GRANTIOD"
	wait "$GRANTIOD"
	guest_create g3 copy "disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$disk']" &
	early=$!
	wait_until 20 disk_waits || { fail "xl wrote no disk"; return 1; }
	grantiod_start || return 1
	wait $early || { fail "xl gave up on the guest that came before grantiod"; return 1; }
	finished g3 || return 1
	grep -q 'served before' "$RUN/grantiod.log" &&
		{ fail "it is taken for a disk that was served before"; return 1; }
	grantiod_stop
}
# NAME
served() { guest_create "$1" copy "disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$disk']" && finished "$1" && no_leaks; }
finished() { # NAME
	guest_finish "$1" 60 || return 1
	guest_log_has "$1" "after $(sha256sum "$disk" | cut -d' ' -f1)" ||
		{ fail "the image is not what $1 wrote"; return 1; }
	wait_until 20 no_guests || { fail "$1 stays"; return 1; }
}
disk_waits() {
	local state
	state=$(xenstore-ls -f /local/domain/0/backend/virtio_disk | sed -n 's/^\([^ ]*\/state\) = .*/\1/p' | head -n 1)
	[ "$(xenstore-read "$state")" = 1 ]
}
