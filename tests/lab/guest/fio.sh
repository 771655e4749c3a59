# SPDX-License-Identifier: MIT
# fio, three jobs at once, each block that is written verified with crc32c: 4 KiB at random, 64 KiB in sequence, and a
# mix of reads and writes. Then it verifies again what a new process finds on the disk.
. /guest/lib.sh
wait_for 20 test -b /dev/vda
run_fio --name=random --rw=randwrite --bs=4k --size=256k --name=sequence --rw=write --bs=64k --offset=4m --size=1m \
	--name=mix --rw=randrw --bs=4k --offset=1m --size=256k
run_fio --verify_only=1 --name=random --rw=randwrite --bs=4k --size=256k --name=sequence --rw=write --bs=64k \
	--offset=4m --size=1m
