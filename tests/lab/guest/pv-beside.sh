# SPDX-License-Identifier: MIT
# Write to a virtio disk and to a PV disk at once, and copy from one to the other.
. /guest/lib.sh
wait_for 20 test -b /dev/vda
wait_for 20 test -b /dev/xvdb
dd if=/dev/urandom of=/tmp/data bs=64k count=12 2>/dev/null
dd if=/tmp/data of=/dev/vda bs=64k oflag=direct 2>/dev/null &
one=$!
dd if=/tmp/data of=/dev/xvdb bs=64k oflag=direct 2>/dev/null &
two=$!
wait $one
wait $two
dd if=/dev/vda of=/dev/xvdb bs=64k count=12 seek=16 iflag=direct oflag=direct 2>/dev/null &
one=$!
dd if=/dev/xvdb of=/dev/vda bs=64k count=12 seek=16 iflag=direct oflag=direct 2>/dev/null &
two=$!
wait $one
wait $two
for disk in vda xvdb; do dd if=/dev/$disk bs=64k skip=16 count=12 2>/dev/null | cmp - /tmp/data; done
echo "GUEST virtio $(sum /dev/vda)"
echo "GUEST pv $(sum /dev/xvdb)"
