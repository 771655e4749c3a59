# SPDX-License-Identifier: MIT
# Two disks: one of 2 MiB, written and read back, and a read-only one of 1 MiB; three times, when dom0 says so on the
# console.
. /guest/lib.sh
wait_for 90 test -b /dev/vda
wait_for 90 test -b /dev/vdb
writable=vda constant=vdb
[ "$(cat /sys/block/vda/size)" = 4096 ] || writable=vdb constant=vda
[ "$(cat "/sys/block/$constant/ro")" = 1 ]
sequence=$(cat /sys/block/vd?/diskseq)
for round in 1 2 3; do
	[ $round = 1 ] || read -r _ </dev/hvc0
	dd if=/dev/urandom of=/tmp/data bs=64k count=8 2>/dev/null
	dd if=/tmp/data of="/dev/$writable" bs=64k seek=$((4 * round)) oflag=direct 2>/dev/null
	dd if="/dev/$writable" of=/tmp/back bs=64k skip=$((4 * round)) count=8 iflag=direct 2>/dev/null
	cmp /tmp/data /tmp/back
	echo 3 >/proc/sys/vm/drop_caches
	echo "GUEST round $round: written $(sum "/dev/$writable") constant $(sum "/dev/$constant")"
done
[ "$(cat /sys/block/vd?/diskseq)" = "$sequence" ] # the same disks as at first
