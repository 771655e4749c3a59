# SPDX-License-Identifier: MIT
. /guest/lib.sh
wait_for 20 test -b /dev/vda
wait_for 20 test -b /dev/vdb
[ "$(cat /sys/block/vdb/ro)" = 1 ]
echo "GUEST vdb $(sum /dev/vdb)"
# The kernel refuses the open already; a guest that insisted is a test of tests/hostile.
if dd if=/dev/zero of=/dev/vdb bs=4k count=1 conv=fsync 2>/dev/null; then exit 1; fi
dd if=/dev/urandom of=/tmp/data bs=64k count=128 2>/dev/null
dd if=/tmp/data of=/dev/vda bs=64k count=64 conv=fsync 2>/dev/null &
dd if=/tmp/data of=/dev/vda bs=64k count=64 skip=64 seek=64 conv=fsync 2>/dev/null &
wait
echo 3 >/proc/sys/vm/drop_caches
cmp /tmp/data /dev/vda
rm /tmp/data
echo "GUEST vda $(sum /dev/vda)"
