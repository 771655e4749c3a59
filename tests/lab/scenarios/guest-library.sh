# SPDX-License-Identifier: MIT
# Labs: x86 arm64
# The guest library's own drivers in a guest without an operating system (guest/os/xen): the scenarios of tests/guest,
# which run on the model as well. What they print must be the same there and here, but for what Arm's processors make of
# accesses to devices at odd addresses (tests/guest/transcript-arm64.sed).
scenario() {
	local rw ro peer domid
	rw=$(image rw.raw 4)
	ro=$(image ro.raw 1)
	grantiod_start --indirect || return 1
	small_guest g1 'on_poweroff="destroy"' \
		"disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$rw','$DISK_SPEC,access=ro,vdev=xvdb,target=$ro']" ||
		return 1
	domid=$(guest_domid g1)
	guest-peer "$domid" "$rw" 2>"$RUN/peer" &
	peer=$!
	wait_until 120 guest_log_has g1 'GUEST ok' || fail "the guest said nothing in 120 s: $(cat "$RUN/peer")"
	kill $peer 2>/dev/null
	wait $peer 2>/dev/null
	tr -d '\r' <"$GUEST_LOG/guest-g1.log" | sed -n '/^GUEST transcript/,/^GUEST end/p' |
		grep -v '^GUEST ' >"$RUN/transcript"
	[ -s "$RUN/transcript" ] || { fail "no transcript"; guest_tail g1; return 1; }
	diff "$RUN/transcript" /lab/transcript.txt >"$RUN/differ" || {
		sed 's/^/LAB differ: /' "$RUN/differ"
		fail "the transcript (<) is not the committed one (>)"
		return 1
	}
	no_leaks
}
# small_guest NAME [xl configuration lines]...: with 16 MiB xl has no room for the pages of its own.
small_guest() {
	local name=$1 line
	shift
	printf '%s\n' "name=\"$name\"" 'kernel="/lab/guest-xen"' 'memory=24' >"$RUN/$name.cfg"
	[ -f /lab/Image-stock ] || printf '%s\n' 'type="pvh"' 'tsc_mode="native"' >>"$RUN/$name.cfg"
	for line; do printf '%s\n' "$line"; done >>"$RUN/$name.cfg"
	: >"$GUEST_LOG/guest-$name.log"
	guest_xl "$name"
}
