# SPDX-License-Identifier: MIT
# I/O while dom0 maps what we grant, and keeps it; then see that all of it comes back.
. /guest/lib.sh
wait_for 20 test -b /dev/vda
stats=$(echo /sys/bus/xen/devices/virtio_disk-*/grantio)
quarantined() { [ "$(cat "$stats/quarantined")" -gt 0 ]; }
pass() { # write a pattern, read it back
	dd if=/dev/urandom of=/tmp/data bs=64k count=8 2>/dev/null
	dd if=/tmp/data of=/dev/vda bs=64k oflag=direct 2>/dev/null
	dd if=/dev/vda of=/tmp/back bs=64k count=8 iflag=direct 2>/dev/null
	cmp /tmp/data /tmp/back
}
echo "GUEST busy"
i=0
until quarantined; do
	pass
	i=$((i + 1))
	[ $i -lt 500 ]
done
echo "GUEST quarantined after $i passes"
for i in 1 2 3 4 5; do pass; done
echo "GUEST unloads, $(cat "$stats/held") held"
# The module goes, its grants and their pages stay: the kernel's now. Then it comes again.
device=$(basename "$(dirname "$stats")")
echo "$device" >/sys/bus/xen/drivers/grantio/unbind
rmmod grantio
dmesg | grep 'left to the kernel with their pages'
insmod "$(grep grantio /etc/modules)"
wait_for 20 test -b /dev/vda
for i in 1 2 3 4 5; do pass; done
echo "GUEST went on, $(cat "$stats/held") held"
drained() { [ "$(cat "$stats/held")" = 0 ]; }
wait_for 40 drained
pass
[ "$(cat "$stats/errors")" = 0 ]
# However many were held: one domain costs the log 8 lines in half a minute, and the module began anew once.
lines=$(dmesg | grep -c 'still in use')
echo "GUEST $lines lines of the kernel's about held grants"
[ "$lines" -le 16 ]
[ "$(cat "$stats/bounced")" -gt 0 ] # virtio_blk's headers and status bytes
if dmesg | grep -e WARNING:.*at -e BUG: -e 'Bad page'; then false; fi
