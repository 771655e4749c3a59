# SPDX-License-Identifier: MIT
# Modules: none
# Load, unload, unbind and rebind the modules of a disk; read it each time that it is there.
. /guest/lib.sh
path() { grep "/$1\.ko" /etc/modules; }
read_disk() { # WHAT
	wait_for 60 test -b /dev/vda # the backend lets a guest wait that begins anew so often
	echo "GUEST read $(sum /dev/vda) ($1)"
}
gone() { wait_for 20 test ! -b /dev/vda; }
stat_is() { [ "$(cat "/sys/bus/xen/devices/$device/grantio/$1")" "$2" "$3" ]; }
xen=/sys/bus/xen/drivers/grantio virtio=/sys/bus/virtio/drivers/virtio_blk
virtio_device() { basename $virtio/virtio*; }
device=$(basename /sys/bus/xen/devices/virtio_disk-*)

for m in $(grep -v grantio /etc/modules); do
	insmod "$m" || true # a driver of an instruction that this CPU lacks refuses
done
insmod "$(path grantio)"
read_disk "the drivers first"
if rmmod grantio 2>/dev/null; then false; fi # a disk needs it
echo "$device" >$xen/unbind
gone
rmmod grantio
insmod "$(path grantio)"
read_disk "grantio again"
rmmod virtio_blk
gone
insmod "$(path virtio_blk)"
read_disk "the drivers last"
echo "$device" >$xen/unbind
gone
echo "$device" >$xen/bind
read_disk "grantio bound again"
disk=$(virtio_device)
granted=$(cat "/sys/bus/xen/devices/$device/grantio/grants")
echo "$disk" >$virtio/unbind
gone
stat_is grants -lt "$granted" # its rings are no longer granted
echo "$disk" >$virtio/bind
read_disk "virtio_blk bound again"
stat_is backend = 0
stat_is grants = "$granted"
stat_is maps -gt 0
stat_is pooled -gt 0
stat_is bounced = 0
stat_is errors = 0
stat_is held = 0
for i in 1 2; do
	echo "$device" >$xen/unbind
	rmmod grantio
	insmod "$(path grantio)"
done
read_disk "grantio twice more"
# Taken from its driver in the middle of I/O, at both levels: errors for who reads, and nothing else.
for place in $virtio $xen; do
	dd if=/dev/vda of=/dev/null bs=64k 2>/dev/null &
	reader=$!
	case $place in $virtio) name=$(virtio_device) ;; *) name=$device ;; esac
	echo "$name" >$place/unbind
	gone
	wait $reader || true
	echo "$name" >$place/bind
	read_disk "bound again after I/O"
done
# What the backend has mapped when the disk is taken from it is still in use for a moment: the kernel says so of a few.
if dmesg | grep -v 'still in use' | grep -e WARNING: -e BUG:; then false; fi
