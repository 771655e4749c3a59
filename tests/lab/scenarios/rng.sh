# SPDX-License-Identifier: MIT
# Labs: x86 arm64
# A guest reads random numbers of the host by the kernel's own driver, from a device of xl's list `virtio`. It gets no
# more of them than the rate allows, and it reads on when grantiod is killed meanwhile and another one comes, twice. On
# x86 it gets a second device by `grantio rng attach`, and loses it.
RATE=1024  # bytes per second;
BURST=4096 # so many may come at once after a pause: what a request may get at most
scenario() {
	local domid round since before
	mkdir "$RUN/state"
	rng_grantiod || return 1
	# xl does not wait for the backend here. On Arm the guest looks for its devices as soon as it runs.
	GUEST_OPTIONS=-p guest_create g1 rng 'virtio=["backend=0,type=virtio,device4,transport=mmio,grant_usage=1"]' ||
		return 1
	domid=$(guest_domid g1)
	wait_until 20 rng_served || { fail "the device is not served"; return 1; }
	rng_shown && type_told || return 1
	xl unpause g1
	wait_until 120 guest_log_has g1 'GUEST reads' || { fail "the guest reads nothing"; guest_tail g1; return 1; }
	another || return 1
	for round in 1 2 3; do
		rate_held || return 1
		[ $round -lt 3 ] || break
		kill -9 "$GRANTIOD"
		wait "$GRANTIOD"
		rng_grantiod && wait_until 20 grep -q 'going on where a former grantiod ended' "$RUN/grantiod.log" ||
			{ fail "round $round: $(grep '^<[0-5]>' "$RUN/grantiod.log" | tr '\n' ';')"; return 1; }
	done
	echo enough >"$(xenstore-read "/local/domain/$domid/console/tty")"
	guest_finish g1 120 || return 1
	say "$(grep -a 'GUEST drew' "$GUEST_LOG/guest-g1.log" | tr -d '\r')"
	no_leaks
}
rng_grantiod() { grantiod_start --state-dir "$RUN/state" --rng-rate $RATE; }
rng_served() { [ "$(xenstore-read "/local/domain/0/backend/virtio/$domid/0/state")" = 2 ]; }
rng_shown() {
	grantio disk list g1 --control "$RUN/control" >"$RUN/list"
	grep -q ' virtio0 .* InitWait .* yes .* random numbers$' "$RUN/list" ||
		fail "grantio disk list: $(tr '\n' ';' <"$RUN/list")"
}
placed() { [ "$(xenstore-read "/local/domain/0/backend/virtio/$domid/0/base")" != 0 ]; } # as on Arm
# Where xl gives the device no address, the guest believes its own directory only.
type_told() {
	local type
	! placed || return 0
	type=$(xenstore-read "/local/domain/$domid/device/virtio/0/type")
	[ "$type" = virtio,device4 ] || fail "the guest's directory says type '$type'"
}
# A second device comes and goes while the guest runs; on Arm it would not see it.
another() {
	! placed || return 0
	grantio rng attach g1 >"$RUN/attach" 2>&1 && grep -qx virtio1 "$RUN/attach" && wait_until 60 another_used ||
		{ fail "no second device: $(tr '\n' ';' <"$RUN/attach")"; guest_tail g1; return 1; }
	grantio rng detach g1 virtio1 || fail "it does not go"
}
another_used() { [ "$(xenstore-read "/local/domain/$domid/device/virtio/1/state")" = 4 ]; }
# How many this grantiod has given by the first device.
rng_bytes() {
	local bytes
	bytes=$(grantio disk stats --control "$RUN/control" | sed -n "s/.*virtio0 .*bytes_read=\([0-9]*\).*/\1/p")
	echo "${bytes:-0}"
}
# The guest asks for all that it can get: while it got two bursts' worth, it got no more than the rate allows. That
# holds however long it takes. Where emulation is so slow that the guest asks for less, it shows nothing: the unit test
# of the rate has a clock of its own.
rate_held() {
	local bytes end
	since=$(cut -d. -f1 /proc/uptime)
	before=$(rng_bytes)
	wait_until 120 two_bursts || { fail "no more numbers come: $before bytes"; guest_tail g1; return 1; }
	bytes=$(($(rng_bytes) - before))
	end=$(($(cut -d. -f1 /proc/uptime) + 1))
	[ $bytes -le $((BURST + RATE * (end - since))) ] || fail "$bytes bytes in less than $((end - since)) s"
}
two_bursts() { [ $(($(rng_bytes) - before)) -ge $((2 * BURST)) ]; }
