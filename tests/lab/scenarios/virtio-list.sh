# SPDX-License-Identifier: MIT
# Labs: arm64
# A disk that xl knows only as a virtio device (virtio=[...]): its base is hexadecimal in xenstore, and grantiod's own
# configuration names its image. xl does not wait for the backend, so the guest stays paused until the disk is served.
scenario() {
	local disk domid
	disk=$(image a.raw 4)
	GUEST_OPTIONS=-p guest_create g1 copy 'virtio=["backend=0,type=virtio,device2,transport=mmio,grant_usage=1"]' ||
		return 1
	domid=$(guest_domid g1)
	case $(xenstore-read "/local/domain/0/backend/virtio/$domid/0/base") in 0x*) ;; *) fail \
		"base is not hexadecimal"; return 1 ;; esac
	echo "disk = $domid/0 $disk" >"$RUN/config"
	grantiod_start --config "$RUN/config" || return 1
	wait_until 20 virtio_served "$domid" || { fail "the device is not served"; return 1; }
	xl unpause g1
	guest_finish g1 60 || return 1
	guest_log_has g1 "after $(sha256sum "$disk" | cut -d' ' -f1)" ||
		{ fail "the image is not what the guest wrote"; return 1; }
	no_leaks
}
virtio_served() { [ "$(xenstore-read "/local/domain/0/backend/virtio/$1/0/state")" = 2 ]; }
