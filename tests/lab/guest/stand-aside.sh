# SPDX-License-Identifier: MIT
# Modules: none
# A mainline kernel, whose own layer its two disks use: grantio.ko comes, is not needed by them, takes nothing, and
# goes; the disks work all the while, also when their driver lets go of one and takes it again.
. /guest/two-disks.sh
mmio=/sys/bus/platform/drivers/virtio-mmio
written="$(sum /dev/vda) $(sum /dev/vdb)"
works() { # WHEN
	wait_for 20 test -b /dev/vda
	dd if=/dev/urandom of=/tmp/data bs=64k count=4 2>/dev/null
	dd if=/tmp/data of=/dev/vda bs=64k oflag=direct 2>/dev/null
	dd if=/dev/vda of=/tmp/back bs=64k count=4 iflag=direct 2>/dev/null
	cmp /tmp/data /tmp/back
	echo "GUEST works $1"
}
insmod /lib/modules/grantio.ko
dmesg | grep 'grantio: the kernel has CONFIG_XEN_VIRTIO: devices of the device tree are left to it'
[ "$(lsmod | awk '$1 == "grantio" { print $3 }')" = 0 ] # nothing uses it
[ ! -e /sys/bus/xen/drivers/grantio/virtio_disk-51712 ]
[ "$(sum /dev/vda) $(sum /dev/vdb)" = "$written" ]
works "with the module"
one=$(ls $mmio | grep 'virtio$' | head -n 1)
echo "$one" >$mmio/unbind
wait_for 20 test ! -b /dev/vda
echo "$one" >$mmio/bind
works "bound again"
[ ! -e "/sys/bus/platform/devices/$one/grantio" ]
grantio doctor | sed 's/^/GUEST doctor: /'
rmmod grantio
works "without the module"
if dmesg | grep -e WARNING:.*at -e BUG: -e 'I/O error' -e 'grantio:.*grants to'; then false; fi
echo "GUEST vda $(sum /dev/vda)"
