# SPDX-License-Identifier: MIT
# Labs: x86
# Limit: 900
# A backend that publishes nonsense, other devices' registers, and states in a loop (this script, in grantiod's place):
# grantio.ko refuses each offer, says so a few times, and no disk comes up.
scenario() {
	local domid back front answer status=0 a=51712 b=51728
	truncate_file "$RUN/a.raw" 1
	offers_answer &
	answer=$!
	guest_create g1 offers "$(disks_line "rw xvda $RUN/a.raw" "rw xvdb $RUN/a.raw")" &&
		domid=$(guest_domid g1) && back=/local/domain/0/backend/virtio_disk/$domid \
		front=/local/domain/$domid/device/virtio_disk &&
		offers_all && xenstore-rm "$front/$a" && xenstore-rm "$front/$b" && guest_finish g1 60 ||
		{ guest_tail g1; status=1; }
	say "$(grep -ao 'refused, with .* lines' "$GUEST_LOG/guest-g1.log")"
	xl destroy g1 2>/dev/null
	wait_until 20 no_backends || { fail "the toolstack did not take the devices away"; status=1; }
	kill $answer
	return $status
}

# What any backend owes the toolstack: InitWait at first, Closed in the end.
offers_answer() {
	local dir
	while true; do
		for dir in $(backends_paths); do
			case $(xenstore-read "$dir/state" 2>/dev/null) in
			1) xenstore-write "$dir/grantio-version" 7 "$dir/state" 2 2>/dev/null ;;
			5) xenstore-write "$dir/state" 6 2>/dev/null ;;
			esac
		done
		sleep 0.2
	done
}
backends_paths() {
	local guest
	for guest in $(xenstore-list /local/domain/0/backend/virtio_disk 2>/dev/null); do
		xenstore-list "/local/domain/0/backend/virtio_disk/$guest" 2>/dev/null |
			sed "s#^#/local/domain/0/backend/virtio_disk/$guest/#"
	done
}

# offer DEVICE VERSION TRANSPORT BASE: the state in the same transaction.
offer() {
	xenstore-write "$back/$1/grantio-version" "$2" "$back/$1/transport" "$3" "$back/$1/mmio-base" "$4" \
		"$back/$1/state" 2
}
# offer_msg DEVICE VERSION DRAFT REVISION MAX-SIZE FEATURES CHANNELS POOL: the same for messages.
offer_msg() {
	local keys=$back/$1/virtio-msg
	xenstore-write "$back/$1/grantio-version" "$2" "$keys/draft" "$3" "$keys/revision" "$4" "$keys/max-size" "$5" \
		"$keys/features" "$6" "$keys/max-queue-channels" "$7" "$keys/pool-max" "$8" "$back/$1/state" 2
}
# refused OFFER DEVICE TEXT ARGUMENT...: the frontend ends in Closed, and the guest's log has one more line with the
# text. It takes up to half a minute to look at an offer, the longer the more there were.
refused() {
	local make=$1 device=$2 text=$3 lines
	shift 3
	lines=$(said)
	$make "$device" "$@" || { fail "cannot write the offer of $*"; return 1; }
	wait_until 90 says_more || {
		fail "$*: not refused for its $text: state $(xenstore-read "$front/$device/state")"
		return 1
	}
	wait_until 30 state_is "$device" 6 || {
		fail "$*: refused, and in state $(xenstore-read "$front/$device/state")"
		return 1
	}
}
said() { grep -ac "virtio_disk-$device: .*$text" "$GUEST_LOG/guest-g1.log"; }
says_more() { [ "$(said)" -gt "$lines" ]; }
state_is() { [ "$(xenstore-read "$front/$1/state")" = "$2" ]; }

offers_all() {
	local good=4271898624 draft=vmsg-009bce0854be i # 0xfea00000
	wait_until 120 guest_log_has g1 'GUEST waits' || { fail "the guest is not there"; return 1; }
	wait_until 30 state_is $a 6 && wait_until 30 state_is $b 6 ||
		{ fail "grantio-version 7 is not refused"; return 1; }
	refused offer $a grantio-version '1x' mmio $good || return 1
	refused offer $b grantio-version 2 mmio $good || return 1
	refused offer $a transport 1 pci $good || return 1
	refused offer $b mmio-base 1 mmio 1048576 || return 1 # its memory
	refused offer $a mmio-base 1 mmio $((good + 512)) || return 1
	refused offer $b mmio-base 1 mmio "$good junk" || return 1
	# A good one, which nobody serves; nobody else may have the same registers, and it has none of virtio.
	offer $a 1 mmio $good
	wait_until 90 state_is $a 3 || { fail "the good offer is refused"; return 1; }
	refused offer $b "another device" 1 mmio $good || return 1
	xenstore-write "$back/$a/state" 4
	wait_until 30 state_is $a 6 || { fail "registers that are not there are used"; return 1; }
	refused offer_msg $b revision 1 "$draft" 2 264 0 4 4096 || return 1
	refused offer_msg $a max-size 1 "old $draft" 1 44 0 4 4096 || return 1
	refused offer_msg $b features 2 "$draft" 1 264 1 4 4096 || return 1
	refused offer_msg $a max-queue-channels 2 "$draft" 1 264 0 17 4096 || return 1
	# A good one: the answer is complete. Nobody speaks at the other end, and so it is given up after half a minute.
	offer_msg $b 2 "$draft" 1 264 0 4 4096
	wait_until 90 state_is $b 3 || { fail "the good offer of messages is refused"; return 1; }
	answered $b || return 1
	xenstore-write "$back/$b/state" 4
	wait_until 90 state_is $b 6 || { fail "a device that says nothing is used"; return 1; }
	for i in $(seq 60); do offer_msg $b 2 "$draft" 9 264 0 4 4096 || return 1; done
	wait_until 90 state_is $b 6 || { fail "after many offers: state $(xenstore-read "$front/$b/state")"; return 1; }
}
# answered DEVICE: each key that an answer by messages has.
answered() {
	local key value
	for key in "grantio-version 2" "transport virtio-msg" "virtio-msg/draft $draft" "dma pool"; do
		value=$(xenstore-read "$front/$1/${key% *}")
		[ "$value" = "${key#* }" ] || { fail "the answer's ${key% *} is '$value'"; return 1; }
	done
	for key in connection driver-page-ref device-page-ref event-channel queue-channels queue-0/event-channel \
		pool-0; do
		xenstore-read "$front/$1/$key" >"$RUN/key" || { fail "the answer has no $key"; return 1; }
	done
}
