# SPDX-License-Identifier: MIT
# Read and write 4 MiB for ever; only a destroyed domain ends it, or a disk that is smaller.
. /guest/lib.sh
wait_for 20 test -b /dev/vda
while true; do dd if=/dev/zero of=/dev/vda bs=64k count=64 conv=fsync 2>/dev/null; done &
for _ in 1 2 3; do dd if=/dev/vda of=/dev/null bs=64k count=64 2>/dev/null; done
echo "GUEST busy"
wait
