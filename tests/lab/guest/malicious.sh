# SPDX-License-Identifier: MIT
# I/O with a backend that keeps what it has mapped; then memory is wanted for something else, and the module goes and
# comes; then the backend lets go. dom0 says when, in the image's last sector.
. /guest/lib.sh
wait_for 20 test -b /dev/vda
# The device of xenstore's on x86, of the device tree's on Arm, and the driver that it is taken from: grantio's own, or
# virtio-mmio.
stats=$(echo /sys/bus/xen/devices/virtio_disk-*/grantio)
driver=/sys/bus/xen/drivers/grantio
if [ ! -d "$stats" ]; then
	stats=$(echo /sys/bus/platform/devices/*.virtio/grantio)
	driver=/sys/bus/platform/drivers/virtio-mmio
fi
stat_is() { [ "$(cat "$stats/$1")" "$2" "$3" ]; }
last=$(($(cat /sys/block/vda/size) - 1))
said() { dd if=/dev/vda bs=512 skip=$last iflag=direct 2>/dev/null | grep -q "$1"; }
pass() { # write a pattern, read it back; a part of a page, too
	dd if=/dev/urandom of=/tmp/data bs=64k count=4 2>/dev/null
	dd if=/tmp/data of=/dev/vda bs=512 count=1 oflag=direct 2>/dev/null
	dd if=/tmp/data of=/dev/vda bs=64k oflag=direct 2>/dev/null
	dd if=/dev/vda of=/tmp/back bs=64k count=4 iflag=direct 2>/dev/null
	cmp /tmp/data /tmp/back
}
echo "GUEST ready"
i=0
until stat_is quarantined -gt 100; do
	pass
	i=$((i + 1))
	[ $i -lt 500 ]
done
for i in 1 2 3; do pass; done
echo "GUEST quarantined, $(cat "$stats/held") held"
wait_for 60 said fill
# Most of the memory that there is, filled: nothing of it is what the backend still sees.
free=$(awk '/MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
mount -t tmpfs -o size=90% fill /mnt
tr '\0' G </dev/zero | dd of=/mnt/fill bs=1M count=$((free * 3 / 4)) iflag=fullblock 2>/dev/null
pass
echo "GUEST filled $((free * 3 / 4)) of $free MiB"
umount /mnt
# The module goes, its grants and their pages stay: the kernel's now. Then it comes again.
device=$(basename "$(dirname "$stats")")
wait_for 60 said unload
echo "$device" >$driver/unbind
rmmod grantio
dmesg | grep 'left to the kernel with their pages'
insmod "$(grep grantio /etc/modules)"
[ $driver = /sys/bus/xen/drivers/grantio ] || echo "$device" >$driver/bind
wait_for 20 test -b /dev/vda
for i in 1 2 3; do pass; done
echo "GUEST went on"
i=0
until stat_is quarantined -gt 10; do
	pass
	i=$((i + 1))
	[ $i -lt 500 ]
done
echo "GUEST quarantined again"
drained() { stat_is held = 0; }
wait_for 60 drained
pass
stat_is errors = 0
# However many were held: one domain costs the log 8 lines in half a minute.
lines=$(dmesg | grep -c 'still in use')
echo "GUEST $lines lines of the kernel's about held grants"
[ "$lines" -le 80 ]
stat_is bounced -gt 0 # virtio_blk's headers and status bytes
if dmesg | grep -e WARNING:.*at -e BUG: -e 'Bad page'; then false; fi
