# SPDX-License-Identifier: MIT
# Read the whole of the first disk, write it back to front in another pattern, read again.
. /guest/lib.sh
wait_for 20 test -b /dev/vda
size=$(cat /sys/block/vda/size)
echo "GUEST size $size"
echo "GUEST before $(sum /dev/vda)"
dd if=/dev/urandom of=/tmp/data bs=64k count=32 2>/dev/null
dd if=/tmp/data of=/dev/vda bs=64k seek=8 conv=fsync 2>/dev/null
echo 3 >/proc/sys/vm/drop_caches
dd if=/dev/vda of=/tmp/back bs=64k skip=8 count=32 2>/dev/null
cmp /tmp/data /tmp/back
echo "GUEST after $(sum /dev/vda)"
