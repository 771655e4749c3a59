# SPDX-License-Identifier: MIT
# Two disks: one of 2 MiB, written and read back, and a read-only one of 1 MiB. They go and come back twice.
. /guest/lib.sh
last=0
# Disks with numbers that are new, both of them; looks without a process of its own, since guests are slow.
both_came() {
	writable= constant=
	for dir in /sys/block/vd*; do
		{ read -r number <"$dir/diskseq" && read -r sectors <"$dir/size"; } 2>/dev/null || continue
		[ "$number" -gt "$last" ] || continue
		[ "$sectors" = 4096 ] && writable=${dir##*/} || constant=${dir##*/}
	done
	[ -b "/dev/$writable" ] && [ -b "/dev/$constant" ]
}
for round in 1 2 3; do
	wait_for 90 both_came
	for disk in "$writable" "$constant"; do
		read -r number <"/sys/block/$disk/diskseq"
		[ "$number" -le "$last" ] || last=$number
	done
	[ "$(cat "/sys/block/$constant/ro")" = 1 ]
	dd if=/dev/urandom of=/tmp/data bs=64k count=8 2>/dev/null
	dd if=/tmp/data of="/dev/$writable" bs=64k seek=$((4 * round)) oflag=direct 2>/dev/null
	dd if="/dev/$writable" of=/tmp/back bs=64k skip=$((4 * round)) count=8 iflag=direct 2>/dev/null
	cmp /tmp/data /tmp/back
	echo "GUEST round $round: written $(sum "/dev/$writable") constant $(sum "/dev/$constant")"
done
