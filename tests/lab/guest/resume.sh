# SPDX-License-Identifier: MIT
# Verified I/O, sixteen requests at a time, while the backend's process is killed and replaced again and again, until
# dom0 says on the console that it was enough; and a second disk, if there is one, that is written now and then. Nobody
# here may notice.
. /guest/lib.sh
wait_for 20 test -b /dev/vda
sequence=$(cat /sys/block/vda/diskseq)
others() {
	while [ ! -f /tmp/done ]; do
		dd if=/dev/urandom of=/tmp/other bs=4k count=4 2>/dev/null
		dd if=/tmp/other of=/dev/vdb bs=4k oflag=direct 2>/dev/null &&
			dd if=/dev/vdb of=/tmp/back bs=4k count=4 iflag=direct 2>/dev/null &&
			cmp /tmp/other /tmp/back || return 1
		sleep 0.2
	done
}
other=
[ ! -b /dev/vdb ] || { others & other=$!; }
echo "GUEST at work"
{ read -r _ </dev/hvc0 && : >/tmp/done; } &
while [ ! -f /tmp/done ]; do
	run_fio --name=resume --ioengine=io_uring --iodepth=16 --rw=randwrite --bs=4k --size=2m --io_size=1m \
		--verify_backlog=64
done
[ -z "$other" ] || wait "$other"
[ "$(cat /sys/block/vda/diskseq)" = "$sequence" ]
if dmesg | grep -e 'I/O error' -e WARNING:.*at -e BUG:; then false; fi
echo "GUEST after $(sum /dev/vda)"
