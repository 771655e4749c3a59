# SPDX-License-Identifier: MIT
# I/O, and then none.
. /guest/lib.sh
wait_for 20 test -b /dev/vda
echo "GUEST indirect $(cut -c29 /sys/block/vda/device/features)"
dd if=/dev/urandom of=/dev/vda bs=64k count=64 conv=fsync 2>/dev/null
echo 3 >/proc/sys/vm/drop_caches
echo "GUEST after $(sum /dev/vda)"
echo "GUEST rests, $(granted) granted"
while true; do sleep 1000; done
