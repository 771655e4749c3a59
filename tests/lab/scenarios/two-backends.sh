# SPDX-License-Identifier: MIT
# Labs: x86
# Two backends, which have no messages, publish the same address for their registers (docs/xenbus.md): the guest
# refuses the second device, and the first goes on. The second backend is a directory in xenstore, as domain 32 would
# write it.
scenario() {
	local disk domid front back=/local/domain/32/backend/virtio_disk base key
	disk=$(image a.raw 2)
	GRANTIOD_PROGRAM=grantiod-bad
	export GRANTIO_BAD="xvda=no-messages"
	grantiod_start || return 1
	unset GRANTIO_BAD
	guest_create g1 two-backends "disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$disk']" || return 1
	domid=$(guest_domid g1)
	front=/local/domain/$domid/device/virtio_disk/9 back=$back/$domid/9
	wait_until 120 guest_log_has g1 'GUEST ready' || { fail "the guest has no disk"; guest_tail g1; return 1; }
	base=$(xenstore-read "/local/domain/0/backend/virtio_disk/$domid/51712/mmio-base") ||
		{ fail "no mmio-base"; return 1; }
	[ $((base)) = $((0xfea00000)) ] || { fail "mmio-base $base is not where domain 32 begins as well"; return 1; }
	# The backend's directory is whole before the guest hears of the device, and its state 2 comes last.
	xenstore-write "$back/frontend" "$front" "$back/frontend-id" "$domid" "$back/transport" mmio "$back/online" 1 \
		"$back/grantio-version" 1 "$back/mmio-base" "$base"
	for key in "" /frontend /frontend-id /transport /online /grantio-version /mmio-base; do
		xenstore-chmod "$back$key" n0 "r$domid"
	done
	xenstore-write "$front/backend" "$back" "$front/backend-id" 32 "$front/virtual-device" 9 "$front/state" 1
	for key in "" /backend /backend-id /virtual-device /state; do xenstore-chmod "$front$key" "n$domid"; done
	xenstore-write "$back/state" 2
	wait_until 60 front_closed || {
		fail "the guest does not refuse it: state $(xenstore-read "$front/state")"
		guest_tail g1
		return 1
	}
	wait_until 60 guest_log_has g1 'GUEST says' || { fail "the guest does not say why"; guest_tail g1; return 1; }
	xenstore-rm "$front"
	xenstore-rm /local/domain/32
	guest_finish g1 60 || return 1
	say "$(grep -a 'GUEST says' "$GUEST_LOG/guest-g1.log" | tr -d '\r')"
}
front_closed() { [ "$(xenstore-read "$front/state")" = 6 ]; }
