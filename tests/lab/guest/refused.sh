# SPDX-License-Identifier: MIT
# One disk is as it should be, three are not: the kernel refuses these, each with a line, and uses the first.
. /guest/lib.sh
refused() { [ "$(dmesg | grep -c -e 'must provide VIRTIO_F_' -e 'needs version 2')" -ge 3 ]; }
wait_for 30 test -b /dev/vda
wait_for 30 refused
dmesg | grep -e 'must provide VIRTIO_F_' -e 'needs version 2' | sed 's/^.*\] /GUEST says /'
echo "GUEST disks $(ls /sys/block | grep -c '^vd'), $(sum /dev/vda)"
