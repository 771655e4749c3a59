# SPDX-License-Identifier: MIT
# Make a file system on the writable disk, use it; try to write to the other.
. /guest/lib.sh
wait_for 20 test -b /dev/vda
wait_for 20 test -b /dev/vdb
case $(cat /sys/block/vda/ro) in 0) rw=vda ro=vdb ;; *) rw=vdb ro=vda ;; esac
[ "$(cat /sys/block/$ro/ro)" = 1 ]
/bin/mke2fs -q -t ext4 /dev/$rw
mount -t ext4 /dev/$rw /mnt
dd if=/dev/urandom of=/mnt/file bs=64k count=48 conv=fsync 2>/dev/null
before=$(sum /mnt/file)
umount /mnt
echo 3 >/proc/sys/vm/drop_caches
mount -t ext4 /dev/$rw /mnt
[ "$(sum /mnt/file)" = "$before" ]
echo "GUEST file $before"
umount /mnt
if dd if=/dev/zero of=/dev/$ro bs=4k count=1 conv=fsync 2>/dev/null; then false; fi
echo "GUEST readonly $(sum /dev/$ro)"
