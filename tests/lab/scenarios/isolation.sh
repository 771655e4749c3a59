# SPDX-License-Identifier: MIT
# Labs: x86
# What dom0 can reach of a guest by its grants, while the guest's disk is in use: what the guest's table says and nothing
# else, which is the rings and the pages of the requests that are on their way; when I/O stops, the rings alone.
scenario() {
	local disk domid watch idle line answer
	disk=$(image a.raw 4)
	grantiod_start || return 1
	guest_create g1 isolation "disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$disk']" || return 1
	domid=$(guest_domid g1)
	wait_until 60 guest_log_has g1 'GUEST idle' || { fail "the guest has no disk"; guest_tail g1; return 1; }
	grants "$domid" list >"$RUN/idle" || { fail "cannot read the guest's table"; return 1; }
	idle=$(wc -l <"$RUN/idle")
	signal_guest "$disk" busy
	wait_until 60 guest_log_has g1 'GUEST busy' || { fail "the guest is not busy"; guest_tail g1; return 1; }
	# A mainline guest gives a device up when one of its pages is mapped at the wrong moment.
	case $GUEST_KERNEL in mainline) grants_probe "$domid" copy ;; *) grants_probe "$domid" probe ;; esac || return 1
	grants "$domid" watch >"$RUN/watch" 2>&1 &
	watch=$!
	wait_until 60 grep -q enough "$RUN/watch" || { kill $watch; fail "too few samples: $(tail -n 3 "$RUN/watch" | tr '\n' ';')"; return 1; }
	signal_guest "$disk" idle
	wait_until 60 guest_log_has g1 'GUEST quiet' || { kill $watch; fail "the guest does not stop"; guest_tail g1; return 1; }
	kill $watch
	wait $watch || { fail "what can be reached: $(tail -n 3 "$RUN/watch" | tr '\n' ';')"; return 1; }
	line=$(grep '^samples' "$RUN/watch")
	say "$line, $(guest_granted) by the guest's own account; $(grep -c . "$RUN/idle") when idle"
	grep '^ended' "$RUN/watch" | while read -r answer; do say "$answer"; done
	isolation_check $line || { fail "that is too much: $line; idle $idle"; return 1; }
	grants "$domid" idle >"$RUN/probe" 2>&1 || { fail "probe when idle: $(tail -n 3 "$RUN/probe" | tr '\n' ';')"; return 1; }
	grants "$domid" list | cmp - "$RUN/idle" || fail "what is granted when idle has changed"
}
signal_guest() { printf '%s' "$2" | dd of="$1" conv=notrunc,fsync 2>/dev/null; }
guest_granted() { sed -n 's/.*GUEST quiet after .* rounds, \(.*\) granted.*/\1/p' "$GUEST_LOG/guest-g1.log"; }
grants_probe() { # DOMID probe|copy
	grants "$1" "$2" >"$RUN/probe" 2>&1 || { fail "$2: $(tail -n 3 "$RUN/probe" | tr '\n' ';')"; return 1; }
	while read -r answer; do say "$answer"; done <"$RUN/probe"
	# All that must be there, or nothing was tried.
	for answer in 'not granted, copy from: GNTST_general_error' 'not granted, copy to: GNTST_general_error' \
		'not granted, copy from: GNTST_bad_gntref' 'read-only, copy from: GNTST_okay' \
		'read-only, copy to: GNTST_general_error' 'writable, copy to: GNTST_okay'; do
		grep -q "^$answer" "$RUN/probe" || { fail "$2 has no '$answer'"; return 1; }
	done
	[ "$2" = copy ] || grep -q '^read-only, map writable: GNTST_general_error' "$RUN/probe" || fail "no read-only page was tried"
}
# "samples S constant C most M ever E now N ended X": what stays is what is there when idle, which is the rings, and the
# console's and xenstore's pages (2); above it at most one request of 4 KiB (2 pages, where it does not begin at one) and one
# of 64 KiB (17), each with its header and its status byte (2); twice that, as a look over the whole table takes longer than a
# request: one may end and the next begin behind it.
isolation_check() {
	[ "$2" -ge 50 ] && [ "$4" = "$idle" ] && [ "${10}" = "$idle" ] && [ "$6" -gt "$idle" ] && [ "$6" -le $((idle + 2 * (2 + 17 + 4))) ] &&
		[ "${12}" -gt 0 ] || return 1
	[ "$(guest_granted)" = unknown ] || [ $(($(guest_granted) + 2)) = "$idle" ]
}
