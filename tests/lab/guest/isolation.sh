# SPDX-License-Identifier: MIT
# I/O of known depth while dom0 looks at what it can reach; then none, and dom0 looks again. dom0 says when, in the
# image's first sector.
. /guest/lib.sh
wait_for 20 test -b /dev/vda
granted() { cat /sys/bus/xen/devices/virtio_disk-*/grantio/grants 2>/dev/null || echo unknown; }
said() { dd if=/dev/vda bs=512 count=1 iflag=direct 2>/dev/null | grep -q "$1"; }
# Two programs, one request each at a time: 4 KiB and 64 KiB, from buffers that need not begin at a page.
round() {
	dd if=/dev/vda of=/dev/null bs=64k skip=1 count=8 iflag=direct 2>/dev/null &
	dd if=/dev/zero of=/dev/vda bs=4k seek=512 count=32 oflag=direct 2>/dev/null
	wait
}
round
echo "GUEST idle, $(granted) granted"
wait_for 60 said busy
round
echo "GUEST busy"
rounds=0
until said idle; do
	round
	rounds=$((rounds + 1))
	[ $rounds -lt 2000 ]
done
echo "GUEST quiet after $rounds rounds, $(granted) granted"
while true; do sleep 1; done
