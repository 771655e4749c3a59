# SPDX-License-Identifier: MIT
# A disk comes while the guest runs, is read and written, and goes; twice. The disk that was there from the start stays.
. /guest/lib.sh
wait_for 20 test -b /dev/vda
sequence=$(cat /sys/block/vda/diskseq)
echo "GUEST at work"
for round in 1 2; do
	wait_for 60 test -b /dev/vdb
	echo "GUEST round $round: before $(sum /dev/vdb)"
	dd if=/dev/urandom of=/dev/vdb bs=64k count=16 conv=fsync 2>/dev/null
	dd if=/dev/urandom of=/dev/vda bs=64k count=16 conv=fsync 2>/dev/null
	echo 3 >/proc/sys/vm/drop_caches
	echo "GUEST round $round: after $(sum /dev/vdb)"
	wait_for 60 test ! -b /dev/vdb
	echo "GUEST round $round: gone"
done
[ "$(cat /sys/block/vda/diskseq)" = "$sequence" ]
if dmesg | grep -e WARNING:.*at -e BUG: -e 'I/O error'; then false; fi
echo "GUEST vda $(sum /dev/vda)"
