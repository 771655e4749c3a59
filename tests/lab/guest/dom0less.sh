# SPDX-License-Identifier: MIT
# A guest without a console: the second half of its disk becomes the first one, and that is how dom0 knows.
. /guest/lib.sh
wait_for 20 test -b /dev/vda
half=$(($(cat /sys/block/vda/size) / 256))
dd if=/dev/vda of=/dev/vda bs=64k count=$half seek=$half iflag=direct oflag=direct 2>/dev/null
