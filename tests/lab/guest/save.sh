# SPDX-License-Identifier: MIT
# Write and read, a line each time, until dom0 says in the image's last sector that it is enough; it saves and restores
# this guest meanwhile.
. /guest/lib.sh
wait_for 20 test -b /dev/vda
sequence=$(cat /sys/block/vda/diskseq)
last=$(($(cat /sys/block/vda/size) - 1))
enough() { dd if=/dev/vda bs=512 skip=$last iflag=direct 2>/dev/null | grep -q enough; }
n=0
until enough; do
	dd if=/dev/urandom of=/tmp/data bs=64k count=16 2>/dev/null
	dd if=/tmp/data of=/dev/vda bs=16k oflag=direct 2>/dev/null
	dd if=/dev/vda of=/tmp/back bs=16k count=64 iflag=direct 2>/dev/null
	cmp /tmp/data /tmp/back
	n=$((n + 1))
	echo "GUEST round $n, up $(cut -d' ' -f1 /proc/uptime) s"
	sleep 0.5 # the host has one processor for this guest, its dom0 and what saves it: nothing waits for this
done
[ "$(cat /sys/block/vda/diskseq)" = "$sequence" ]
[ "$(ls -d /sys/block/vd*)" = /sys/block/vda ]
[ "$(ls -d /sys/bus/platform/devices/grantio.* | wc -l)" = 1 ]
cd /sys/bus/xen/devices/virtio_disk-*/grantio
[ "$(cat errors)" = 0 ]
if dmesg | grep -e 'I/O error' -e WARNING:.*at -e BUG: -e 'nobody cared'; then false; fi
