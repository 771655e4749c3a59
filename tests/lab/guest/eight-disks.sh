# SPDX-License-Identifier: MIT
# Read all disks and write to each of them, all at once. What a disk is called stands in its first five bytes: disks
# come up in any order.
. /guest/lib.sh
disk() { # DEVICE
	local name
	name=$(head -c 5 /dev/$1)
	echo "GUEST $name before $(sum /dev/$1)"
	dd if=/dev/urandom of=/tmp/$1 bs=64k count=4 2>/dev/null
	dd if=/tmp/$1 of=/dev/$1 bs=64k seek=5 conv=fsync 2>/dev/null
	dd if=/dev/$1 of=/tmp/$1.back bs=64k skip=5 count=4 iflag=direct 2>/dev/null
	cmp /tmp/$1 /tmp/$1.back
	echo "GUEST $name after $(sum /dev/$1)"
}
jobs=
for device in vda vdb vdc vdd vde vdf vdg vdh; do
	wait_for 20 test -b /dev/$device
	disk $device &
	jobs="$jobs $!"
done
for job in $jobs; do wait $job; done
