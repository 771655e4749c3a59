# SPDX-License-Identifier: MIT
# What a guest's script may use; it runs with `sh -eu`.

wait_for() { # SECONDS COMMAND...
	tries=$(($1 * 10))
	shift
	while ! "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		sleep 0.1
	done
}
# How many devices grantio.ko has from xenstore: on Arm those that it reaches by messages, and not by the device tree.
taken_by_grantio() {
	set -- /sys/bus/xen/devices/virtio*-*/grantio
	[ -d "$1" ] && echo "GUEST devices of grantio's: $#"
}
sum() { sha256sum "$1" | cut -d' ' -f1; }
# run_fio JOB...: fio on /dev/vda, direct, with crc32c verified (GUEST_ADD=fio in the scenario). Its jobs run at once,
# as threads.
run_fio() {
	if fio --name=global --filename=/dev/vda --direct=1 --ioengine=psync --thread --verify=crc32c --verify_fatal=1 \
		--do_verify=1 --randseed=1 --group_reporting --clocksource=clock_gettime "$@" >/tmp/fio 2>&1; then
		grep -e 'READ:' -e 'WRITE:' /tmp/fio | sed 's/^/GUEST fio/'
	else
		sed 's/^/GUEST fio: /' /tmp/fio
		return 1
	fi
}
# How many references grantio.ko has granted for its disks; "unknown" without it.
granted() { cat /sys/bus/xen/devices/virtio_disk-*/grantio/grants 2>/dev/null || echo unknown; }
