# SPDX-License-Identifier: MIT
# The backend's process is killed, while nothing is under way or (busy=1 in the command line) in the middle of I/O, and
# another one comes: the disk goes, comes back, and works.
. /guest/lib.sh
wait_for 20 test -b /dev/vda
dd if=/dev/urandom of=/tmp/data bs=64k count=8 2>/dev/null
dd if=/tmp/data of=/dev/vda bs=64k oflag=direct 2>/dev/null
echo "GUEST at work"
if grep -q busy=1 /proc/cmdline; then
	while [ -b /dev/vda ] && dd if=/tmp/data of=/dev/vda bs=64k oflag=direct 2>/dev/null; do :; done
	echo "GUEST lost its disk"
fi
# A disk that comes while its former self is still open has another letter.
came() { dmesg | sed -n 's/.* \[\(vd[a-z]\)\] .*/\1/p'; }
came_twice() { test "$(came | wc -l)" = 2; }
wait_for 60 came_twice
disk=/dev/$(came | tail -n 1)
wait_for 20 test -b "$disk"
dd if=/dev/urandom of=/tmp/data bs=64k count=8 2>/dev/null
dd if=/tmp/data of="$disk" bs=64k seek=2 oflag=direct 2>/dev/null
dd if="$disk" of=/tmp/back bs=64k skip=2 count=8 iflag=direct 2>/dev/null
cmp /tmp/data /tmp/back
echo "GUEST after $(sum "$disk")"
