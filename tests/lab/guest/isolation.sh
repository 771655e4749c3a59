# SPDX-License-Identifier: MIT
# fio, of known depth, while dom0 looks at what it can reach; then none, and dom0 looks again. dom0 says when, in the
# image's first sector.
. /guest/lib.sh
wait_for 20 test -b /dev/vda
# Not from the page cache, which has what was read before for as long as fio has the disk open; one page, and nothing
# ahead.
said() {
	echo 1 >/proc/sys/vm/drop_caches
	dd if=/dev/vda bs=512 count=1 iflag=direct 2>/dev/null | grep -q "$1"
}
echo 0 >/sys/block/vda/queue/read_ahead_kb
# Two jobs at once with one request each at a time: 4 KiB and 64 KiB, of whole pages.
both='--filename=/dev/vda --direct=1 --ioengine=psync --thread --clocksource=clock_gettime --randseed=1'
jobs='--name=small --rw=randwrite --bs=4k --offset=2m --size=1m'
jobs="$jobs --name=large --rw=randread --bs=64k --offset=64k --size=1m"
requests() { awk '{ print $1 + $5 }' /sys/block/vda/stat; }
in_use() { [ "$(requests)" -gt $((before + 20)) ]; }
fio --name=global $both --number_ios=32 $jobs >/tmp/fio 2>&1
echo "GUEST idle, $(granted) granted"
wait_for 60 said busy
before=$(requests)
# With pauses and at a low rank: the only CPU is for the shell as well.
fio --name=global $both --nice=19 --thinktime=4000 --time_based --runtime=900 $jobs >/tmp/fio 2>&1 &
fio=$! # fio itself, and no shell that waits for it
wait_for 60 in_use
echo "GUEST busy"
polls=0
until said idle; do
	sleep 0.5
	polls=$((polls + 1))
	[ $polls -lt 600 ]
done
kill -9 $fio # it runs still
wait $fio || true
echo "GUEST quiet after $(requests) requests, $(granted) granted"
while true; do sleep 1; done
