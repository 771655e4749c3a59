# SPDX-License-Identifier: MIT
# Modules: none
# Debian's own kernel on Arm, with two virtio disks of its device tree and a PV disk. Without grantio.ko there are no
# virtio disks, and with it there are two, which are left to the device tree here. Drivers come and go, and so does the
# module, when nothing uses it.
. /guest/lib.sh
mmio=/sys/bus/platform/drivers/virtio-mmio
load() { # MODULE [PARAMETER]
	insmod "$(grep "/$1\.ko" /etc/modules)" ${2-}
}
devices() { ls $mmio | grep 'virtio$'; }
gone() { wait_for 20 test ! -b "/dev/$1"; }
read_again() { # WHAT
	wait_for 20 test -b /dev/vda
	wait_for 20 test -b /dev/vdb
	[ "$(sum /dev/vda) $(sum /dev/vdb)" = "$written" ]
	echo "GUEST read again: $1"
}

# a driver of an instruction that this CPU lacks refuses
for m in $(grep -v grantio /etc/modules); do insmod "$m" || true; done
wait_for 20 test -b /dev/xvdc
[ ! -b /dev/vda ]
load grantio tree_messages=0
. /guest/two-disks.sh
dd if=/dev/urandom of=/dev/xvdc bs=64k count=8 oflag=direct 2>/dev/null
echo "GUEST pv $(sum /dev/xvdc)"
written="$(sum /dev/vda) $(sum /dev/vdb)"
[ "$(lsmod | awk '$1 == "grantio" { print $3 }')" = 2 ]
if rmmod grantio 2>/dev/null; then false; fi # its disks are in use

# A driver that goes takes its device's DMA operations with it.
both=$(devices)
one=$(devices | head -n 1)
echo "$one" >$mmio/unbind
gone vda
[ -b /dev/vdb ]
echo "$one" >$mmio/bind
read_again "one device was unbound"
rmmod virtio_blk
gone vda
rmmod virtio_mmio
load virtio_mmio
load virtio_blk
read_again "the drivers were unloaded"
for device in $both; do echo "$device" >$mmio/unbind; done
gone vda
gone vdb
rmmod grantio
load grantio tree_messages=0
for device in $both; do echo "$device" >$mmio/bind; done
read_again "grantio was unloaded"
if dmesg | grep -e WARNING: -e BUG: -e 'still in use' -e 'Waiting for devices'; then false; fi
