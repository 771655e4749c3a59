# SPDX-License-Identifier: MIT
# The backend's domain makes offers that must all be refused, until the devices are taken away.
. /guest/lib.sh
devices=/sys/bus/xen/devices
wait_for 40 test -d $devices/virtio_disk-51712
echo "GUEST waits"
gone() { [ ! -d $devices/virtio_disk-51712 ] && [ ! -d $devices/virtio_disk-51728 ]; }
wait_for 800 gone
[ ! -b /dev/vda ]
lines=$(dmesg | grep -c 'virtio_disk-[0-9]*: ')
echo "GUEST refused, with $lines lines"
[ "$lines" -ge 12 ]
# Ten a device in half a minute, however many offers there were.
[ "$lines" -le 40 ]
if dmesg | grep -e WARNING: -e BUG: -e Oops; then false; fi
