# SPDX-License-Identifier: MIT
# Write to two virtio disks and to a PV disk at once, and copy from one to the other.
. /guest/lib.sh
for disk in vda vdb xvdb; do wait_for 20 test -b /dev/$disk; done
# all COMMAND: with each disk and the next one's name, all at once
all() {
	$1 vda vdb & one=$!
	$1 vdb xvdb & two=$!
	$1 xvdb vda & three=$!
	wait $one
	wait $two
	wait $three
}
write() { dd if=/tmp/data of=/dev/$1 bs=64k seek=$(seek_of $1) oflag=direct 2>/dev/null; }
copy() { dd if=/dev/$1 of=/dev/$2 bs=64k skip=$(seek_of $1) count=8 seek=16 iflag=direct oflag=direct 2>/dev/null; }
seek_of() { case $1 in vda) echo 0 ;; vdb) echo 1 ;; *) echo 2 ;; esac }
dd if=/dev/urandom of=/tmp/data bs=64k count=8 2>/dev/null
all write
all copy
for disk in vda vdb xvdb; do dd if=/dev/$disk bs=64k skip=16 count=8 2>/dev/null | cmp - /tmp/data; done
for disk in vda vdb; do echo "GUEST virtio $(sum /dev/$disk)"; done
echo "GUEST pv $(sum /dev/xvdb)"
