# SPDX-License-Identifier: MIT
# Labs: arm64
# Xen: lab=dom0less
# A guest that Xen itself made at boot, whose disk stands in its device tree by `grantio dt emit --dom0less` alone:
# libxl has written nothing. It gets its disk by grants. (It starts, but waits before its kernel for the device:
# guest/late.S.)
scenario() {
	local disk domid=1
	[ "$(xl list | awk 'NR > 2 { print $2 }')" = $domid ] ||
		{ fail "Xen made no guest: $(xl list | tr '\n' ';')"; return 1; }
	disk=$(image a.raw 4)
	dd if=/dev/urandom of="$disk" bs=1M count=2 conv=notrunc 2>/dev/null
	init-dom0less >"$RUN/init" 2>&1 || { fail "init-dom0less: $(tail -n 1 "$RUN/init")"; return 1; }
	grantiod_start || return 1
	grantio disk attach $domid "$disk" --vdev xvda >"$RUN/attach" 2>&1 ||
		{ fail "grantio disk attach: $(cat "$RUN/attach")"; return 1; }
	wait_until 90 shut_down || { fail "the guest has not ended: $(xl dmesg | tail -n 20 | tr '\n' ';')"; return 1; }
	[ "$(half 0)" = "$(half 2)" ] || { fail "the guest has not written what it read"; return 1; }
	say "$(grantio disk stats --control "$RUN/control" | head -n 1)"
}
shut_down() { [ "$(xl list | awk 'NR > 2 { print $5 }' | cut -c4)" = s ]; }
half() { dd if="$disk" bs=1M skip="$1" count=2 2>/dev/null | sha256sum; } # FIRST MEGABYTE
