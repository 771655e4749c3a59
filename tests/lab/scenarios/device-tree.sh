# SPDX-License-Identifier: MIT
# Labs: arm64
# A guest has a disk that xl knows, and another one that only `grantio dt emit` put into its device tree: both work.
# `grantio dt check` accepts the device tree that xl made.
scenario() {
	local a b before domid
	a=$(image a.raw 8)
	b=$(image b.raw 2)
	dd if=/dev/urandom of="$b" bs=1M count=2 conv=notrunc 2>/dev/null
	before=$(sha256sum "$b" | cut -d' ' -f1)
	grantiod_start || return 1

	# xl's own disk has the first address and interrupt, `grantio disk attach` takes the second ones.
	grantio dt emit --partial --device base=0x2000200,irq=34,backend=0 --output "$RUN/partial.dtb" ||
		{ fail "grantio dt emit"; return 1; }
	export LIBXL_DEBUG_DUMP_DTB=$RUN/guest.dtb
	GUEST_OPTIONS=-p # there must be a device before the guest looks for it
	guest_create g1 two-disks "disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$a']" \
		"device_tree=\"$RUN/partial.dtb\"" "nr_spis=8" || return 1
	unset LIBXL_DEBUG_DUMP_DTB
	grantio dt check "$RUN/guest.dtb" >"$RUN/check" 2>&1 ||
		{ fail "grantio dt check: $(tail -n 1 "$RUN/check")"; return 1; }
	grep -qx '/virtio@2000000 at 0x2000000, irq 33: restricted to domain 0' "$RUN/check" ||
		{ fail "xl's node: $(head -n 1 "$RUN/check")"; return 1; }
	grep -qx '/passthrough/virtio@2000200 at 0x2000200, irq 34: restricted to domain 0' "$RUN/check" ||
		{ fail "grantio's node: $(tail -n 1 "$RUN/check")"; return 1; }

	domid=$(guest_domid g1)
	grantio disk attach "$domid" "$b" --vdev xvdb --mode r >"$RUN/attach" 2>&1 ||
		{ fail "grantio disk attach: $(cat "$RUN/attach")"; return 1; }
	xl unpause g1
	guest_finish g1 90 || return 1
	[ "$GUEST_KERNEL" != stock ] || guest_by_messages g1 2 || return 1
	guest_log_has g1 "vdb $before" || { fail "the guest read something else than the image"; return 1; }
	guest_log_has g1 "vda $(sha256sum "$a" | cut -d' ' -f1)" ||
		{ fail "the image is not what the guest wrote"; return 1; }
}
