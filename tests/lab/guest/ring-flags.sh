# SPDX-License-Identifier: MIT
# I/O in pieces of all sizes; when it is done, what is granted is what was granted before it: the rings.
. /guest/lib.sh
wait_for 20 test -b /dev/vda
stats=$(echo /sys/bus/xen/devices/virtio_disk-*/grantio)
[ -d "$stats" ] || stats=$(echo /sys/bus/platform/devices/*.virtio/grantio)
granted() { cat "$stats/grants"; }
before=$(granted)
echo "GUEST $before granted to begin with"
dd if=/dev/urandom of=/tmp/data bs=64k count=32 2>/dev/null
for size in 512 4096 12288 65536 262144; do
	for i in 1 2; do
		dd if=/tmp/data of=/dev/vda bs=$size count=8 oflag=direct 2>/dev/null
		dd if=/dev/vda of=/tmp/back bs=$size count=8 iflag=direct 2>/dev/null
		cmp -n $((size * 8)) /tmp/data /tmp/back
	done
done
echo "GUEST $(cat "$stats/maps") maps, $(granted) granted at the end"
idle() { [ "$(granted)" = "$before" ]; }
wait_for 20 idle
[ "$(cat "$stats/errors")" = 0 ]
if dmesg | grep -e WARNING:.*at -e BUG: -e 'Bad page'; then false; fi
