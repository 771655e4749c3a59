# SPDX-License-Identifier: MIT
# A second device has the first one's address: grantio.ko refuses it, and the first goes on.
. /guest/lib.sh
wait_for 20 test -b /dev/vda
before=$(sum /dev/vda)
echo "GUEST ready"
wait_for 100 test -d /sys/bus/xen/devices/virtio_disk-9
refused() { dmesg | grep -q 'virtio_disk-9: .*mmio-base: another device is at 0xfea00000'; }
wait_for 60 refused
dmesg | grep 'virtio_disk-9: ' | sed 's/^[^]]*\] /GUEST says /'
echo 3 >/proc/sys/vm/drop_caches
[ "$(sum /dev/vda)" = "$before" ]
dd if=/dev/urandom of=/dev/vda bs=64k count=8 conv=fsync 2>/dev/null
[ "$(ls /sys/block | grep -c '^vd')" = 1 ]
[ "$(ls /sys/bus/platform/drivers/virtio-mmio | grep -c '^virtio-mmio')" = 1 ] # bound to the driver
gone() { [ ! -d /sys/bus/xen/devices/virtio_disk-9 ]; }
wait_for 60 gone
[ "$(cat /sys/bus/xen/devices/virtio_disk-51712/grantio/errors)" = 0 ]
