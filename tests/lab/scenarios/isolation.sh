# SPDX-License-Identifier: MIT
# Labs: x86 arm64
# dom0 tries to reach a guest's memory by grants while fio uses the guest's disk. It reaches what the guest's grant
# table allows and nothing else: the rings, and the pages of requests in flight. When I/O stops, only the rings remain.
# A guest that has messages grants the same all the time: rings, message pages and pool.
scenario() {
	local status=0
	xen_says none
	isolation || status=1
	xen_says all
	return $status
}
# A debug build of Xen, which the Arm64 lab has, says each refusal on its console, which is slow.
xen_says() {
	[ "$(uname -m)" != aarch64 ] || xl set-parameters "guest_loglvl=$1" ||
		say "Xen's level of messages stays as it is"
}
isolation() {
	local disk domid watch idle line answer
	disk=$(image a.raw 4)
	grantiod_start || return 1
	GUEST_ADD=fio
	guest_create g1 isolation "disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$disk']" || return 1
	domid=$(guest_domid g1)
	wait_until 120 guest_log_has g1 'GUEST idle' || { fail "the guest has no disk"; guest_tail g1; return 1; }
	signal_guest "$disk" busy
	wait_until 90 guest_log_has g1 'GUEST busy' || { fail "the guest is not busy"; guest_tail g1; return 1; }
	grants_probe "$domid" || return 1
	grants "$domid" watch >"$RUN/watch" 2>&1 &
	watch=$!
	wait_until 90 grep -q enough "$RUN/watch" ||
		{ kill $watch; fail "too few samples: $(tail -n 3 "$RUN/watch" | tr '\n' ';')"; return 1; }
	signal_guest "$disk" idle
	wait_until 90 guest_log_has g1 'GUEST quiet' ||
		{ kill $watch; fail "the guest does not stop"; guest_tail g1; return 1; }
	kill $watch
	wait $watch || { fail "what can be reached: $(tail -n 3 "$RUN/watch" | tr '\n' ';')"; return 1; }
	grants "$domid" list >"$RUN/idle" || { fail "cannot read the guest's table"; return 1; }
	idle=$(wc -l <"$RUN/idle")
	line=$(grep '^samples' "$RUN/watch")
	say "$line; $idle when idle, $(guest_granted) by the guest's own account; $(guest_requests) requests"
	grep '^ended' "$RUN/watch" | while read -r answer; do say "$answer"; done
	isolation_check $line || { fail "that is not rings and live requests: $line; idle $idle"; return 1; }
	grants "$domid" idle >"$RUN/probe" 2>&1 ||
		{ fail "probe when idle: $(tail -n 3 "$RUN/probe" | tr '\n' ';')"; return 1; }
	grants "$domid" list | cmp - "$RUN/idle" || fail "what is granted when idle has changed"
}
signal_guest() { printf '%s' "$2" | dd of="$1" conv=notrunc,fsync 2>/dev/null; }
guest_granted() { sed -n 's/.*GUEST quiet after .* requests, \(.*\) granted.*/\1/p' "$GUEST_LOG/guest-g1.log"; }
guest_requests() { sed -n 's/.*GUEST quiet after \(.*\) requests.*/\1/p' "$GUEST_LOG/guest-g1.log"; }
grants_probe() { # DOMID
	grants "$1" probe >"$RUN/probe" 2>&1 || { fail "probe: $(tail -n 3 "$RUN/probe" | tr '\n' ';')"; return 1; }
	while read -r answer; do say "$answer"; done <"$RUN/probe"
	# All that must be there, or nothing was tried.
	for answer in 'not granted, copy from: GNTST_general_error' 'not granted, copy to: GNTST_general_error' \
		'not granted, map read-only: GNTST_general_error' 'not granted, copy from: GNTST_bad_gntref' \
		'read-only, copy from: GNTST_okay' 'read-only, copy to: GNTST_general_error' \
		'read-only, map writable: GNTST_general_error' 'writable, copy to: GNTST_okay'; do
		grep -q "^$answer" "$RUN/probe" || { fail "probe has no '$answer'"; return 1; }
	done
}
# "samples S constant C most M ever E now N ended X busy B". What is reached in all samples, and in the last one, is
# what is granted when the guest is quiet: the rings' pages, console and xenstore. The guest stands still for each
# sample, so what is above that belongs to requests that are on their way at that moment, at most three: fio's two jobs
# have one each, 4 KiB (1 page) and 64 KiB (16), both from whole pages, and the script reads one sector (1). Each has a
# header and a status byte, two references more; there are no indirect tables (grantiod offers them if told to). Some
# samples meet one, and one the 64 KiB.
isolation_check() {
	[ "$(guest_granted)" = unknown ] || [ $(($(guest_granted) + 2)) = "$idle" ] || return 1
	if [ "$(xenstore-read "/local/domain/$domid/device/virtio_disk/51712/transport")" = virtio-msg ]; then
		[ "$2" -gt 50 ] && [ "$4 $6 $8 ${10} ${12} ${14}" = "$idle $idle $idle $idle 0 0" ]
		return
	fi
	local small=3 large=18 sector=3
	[ "$2" -gt 50 ] && [ "$4" = "$idle" ] && [ "${10}" = "$idle" ] && [ "${12}" -gt 0 ] && [ "${14}" -ge 10 ] &&
		[ "$6" -ge $((idle + large)) ] && [ "$6" -le $((idle + small + large + sector)) ]
}
