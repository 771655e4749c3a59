# SPDX-License-Identifier: MIT
# Labs: x86
# Limit: 900
# A running guest gets a second disk by `grantio disk attach`, uses it, and loses it by `grantio disk detach`; then the
# same again, by the guest's name. Its keys in xenstore are like those that xl wrote for the first disk, which nothing
# disturbs.
scenario() {
	local a b domid round
	a=$(image a.raw 4)
	b=$(image b.raw 4)
	grantiod_start || return 1
	guest_create g1 attach "disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$a']" || return 1
	domid=$(guest_domid g1)
	wait_until 60 guest_log_has g1 'GUEST at work' ||
		{ fail "the guest has no first disk"; guest_tail g1; return 1; }
	for round in 1 2; do
		dd if=/dev/urandom of="$b" bs=1M count=4 conv=notrunc 2>/dev/null
		before=$(sha256sum "$b" | cut -d' ' -f1)
		attach "$([ $round = 1 ] && echo "$domid" || echo g1)" "$b" || return 1
		wait_until 60 guest_log_has g1 "GUEST round $round: after " ||
			{ fail "round $round: the second disk was not used"; guest_tail g1; return 1; }
		guest_log_has g1 "round $round: before $before" ||
			{ fail "round $round: the guest read something else than the image"; return 1; }
		grantio disk detach g1 xvdb >"$RUN/detach" 2>&1 ||
			{ fail "round $round: grantio disk detach: $(cat "$RUN/detach")"; guest_tail g1; return 1; }
		wait_until 20 guest_log_has g1 "GUEST round $round: gone" ||
			{ fail "round $round: the disk is still there"; guest_tail g1; return 1; }
		guest_log_has g1 "round $round: after $(sha256sum "$b" | cut -d' ' -f1)" ||
			{ fail "round $round: the image is not what the guest wrote"; return 1; }
	done
	guest_finish g1 60 || return 1
	guest_log_has g1 "vda $(sha256sum "$a" | cut -d' ' -f1)" || fail "the first image is not what the guest wrote"
}

# attach GUEST IMAGE: xvdb; xl's directory of xvda and ours of xvdb are the same but for what names the disk.
attach() {
	local disk dir
	grantio disk attach "$1" "$2" --vdev xvdb >"$RUN/attach" 2>&1 ||
		{ fail "grantio disk attach: $(cat "$RUN/attach")"; return 1; }
	for disk in 51712 51728; do
		for dir in /local/domain/0/backend/virtio_disk/$domid/$disk /libxl/$domid/device/virtio_disk/$disk; do
			keys "$dir"
		done >"$RUN/keys-$disk"
	done
	cmp -s "$RUN/keys-51712" "$RUN/keys-51728" || {
		fail "xl and grantio write other keys: $(diff "$RUN/keys-51712" "$RUN/keys-51728" | tr '\n' ';')"
		return 1
	}
}
# A state follows its guest; what the backend publishes is no toolstack's; newer versions of xl say of each disk whether
# it has grants.
keys() {
	xenstore-ls "$1" | sed -e 's/5171[0-9]\|5172[0-9]/DEVID/g; s/xvd[ab]/VDEV/; s/\/[ab]\.raw/IMAGE/' |
		grep -v -e '^state' -e '^grantio-' -e '^mmio-base' -e '^grant_usage' | sort
}
