# SPDX-License-Identifier: MIT
# Some I/O, and one more in the number that the disk begins with; times=N in the command line: the last round powers
# off.
. /guest/lib.sh
wait_for 20 test -b /dev/vda
round=$(head -c 8 /dev/vda | tr -dc 0-9)
round=$((${round:-0} + 1))
dd if=/dev/urandom of=/tmp/data bs=64k count=4 2>/dev/null
dd if=/tmp/data of=/dev/vda bs=64k seek=8 oflag=direct 2>/dev/null
dd if=/dev/vda of=/tmp/back bs=64k skip=8 count=4 iflag=direct 2>/dev/null
cmp /tmp/data /tmp/back
printf '%-8d' $round | dd of=/dev/vda bs=512 conv=sync,fsync 2>/dev/null
echo "GUEST round $round"
times=$(tr ' ' '\n' </proc/cmdline | sed -n 's/^times=//p')
[ "$round" != "$times" ] || echo poweroff >/tmp/end
