# SPDX-License-Identifier: MIT
# fio's figures of the virtio disk and of the PV disk beside it, in turn. dom0 reads its own counters between two runs,
# so each run waits for a line on the console.
. /guest/lib.sh
wait_for 20 test -b /dev/vda
wait_for 20 test -b /dev/xvdb
interrupts() { # of a disk's driver, on all processors
	awk -v name="$1" '$NF ~ name { for (i = 2; $i ~ /^[0-9]+$/; i++) sum += $i } END { print sum + 0 }' \
		/proc/interrupts
}
# measure DISK INTERRUPT RW BS DEPTH: terse output holds, ;-separated, kilobytes moved and IOPS: 6 and 8 of reads, 47
# and 49 of writes.
measure() {
	local before after
	echo "GUEST ready"
	read -r _ </dev/hvc0
	before=$(interrupts "$2")
	fio --name=figure --filename="/dev/$1" --direct=1 --ioengine=io_uring --iodepth="$5" --rw="$3" --bs="$4" \
		--time_based --runtime=3 --randseed=1 --clocksource=clock_gettime --thread --minimal >/tmp/fio 2>&1 ||
		{ sed 's/^/GUEST fio: /' /tmp/fio; return 1; }
	after=$(interrupts "$2")
	awk -F';' -v what="$1 $3 $4 $5" -v size="${4%k}" -v irqs=$((after - before)) \
		'$1 == 3 { printf "GUEST figure %s %.0f %.0f %d\n", what, $8 + $49, ($6 + $47) / size, irqs }' /tmp/fio
}
for round in 1 2 3; do
	for load in "randread 4k 1" "randread 4k 32" "randread 64k 1" "randread 64k 32" "randwrite 4k 1" \
		"randwrite 4k 32" "randwrite 64k 1" "randwrite 64k 32"; do
		measure vda "virtio|grantio" $load
		measure xvdb blkif $load
	done
done
