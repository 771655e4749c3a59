# SPDX-License-Identifier: MIT
# fio, of known depth, while dom0 looks at what it can reach; then none, and dom0 looks again. dom0 says when, in the
# image's first sector.
. /guest/lib.sh
wait_for 20 test -b /dev/vda
granted() { cat /sys/bus/xen/devices/virtio_disk-*/grantio/grants 2>/dev/null || echo unknown; }
said() { dd if=/dev/vda bs=512 count=1 iflag=direct 2>/dev/null | grep -q "$1"; }
# fio, two jobs at once with one request each at a time: 4 KiB and 64 KiB.
load() {
	fio --name=global --filename=/dev/vda --direct=1 --ioengine=psync --thread --clocksource=clock_gettime --randseed=1 "$@" \
		--name=small --rw=randwrite --bs=4k --offset=2m --size=1m --name=large --rw=randread --bs=64k --offset=64k --size=1m >/tmp/fio 2>&1
}
requests() { awk '{ print $1 + $5 }' /sys/block/vda/stat; }
in_use() { test "$(requests)" -gt $((before + 20)); }
load --number_ios=32
echo "GUEST idle, $(granted) granted"
wait_for 60 said busy
load --time_based --runtime=600 &
fio=$!
before=$(requests)
wait_for 30 in_use
echo "GUEST busy"
wait_for 300 said idle
kill -TERM $fio
wait $fio || :
echo "GUEST quiet after $(requests) requests, $(granted) granted"
while true; do sleep 1; done
