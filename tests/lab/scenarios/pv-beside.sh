# SPDX-License-Identifier: MIT
# Labs: x86 arm64
# Two guests, with one vCPU and with two, each have a PV disk that dom0's kernel serves, beside two virtio disks.
scenario() {
	local vcpus a b c
	grantiod_start || return 1
	for vcpus in 1 2; do
		a=$(image "virtio$vcpus.raw" 2)
		b=$(image "pv$vcpus.raw" 2)
		c=$(image "second$vcpus.raw" 2)
		LOOPS="$LOOPS $(losetup -f)" && losetup "${LOOPS##* }" "$b" || { fail "no loop device"; return 1; }
		guest_create "g$vcpus" pv-beside "vcpus=$vcpus" \
			"$(disks_line "rw xvda $a" "pv xvdb ${LOOPS##* }" "rw xvdc $c")" || return 1
	done
	for vcpus in 1 2; do
		guest_finish "g$vcpus" 120 || return 1
	done
	wait_until 20 no_guests || { fail "a guest stays"; return 1; }
	for loop in $LOOPS; do losetup -d "$loop"; done
	for vcpus in 1 2; do
		for disk in virtio second; do
			guest_log_has "g$vcpus" "virtio $(sha256sum "$RUN/$disk$vcpus.raw" | cut -d' ' -f1)" ||
				{ fail "$vcpus vCPU: $disk disk is not what the guest wrote"; return 1; }
		done
		guest_log_has "g$vcpus" "pv $(sha256sum "$RUN/pv$vcpus.raw" | cut -d' ' -f1)" ||
			{ fail "$vcpus vCPU: the PV disk is not what the guest wrote"; return 1; }
	done
}
LOOPS=
