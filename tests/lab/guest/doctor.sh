# SPDX-License-Identifier: MIT
# What grantio doctor says in a guest with a disk, and without the module.
. /guest/lib.sh
doctor() { # STATUS LINE...
	wanted=$1 status=0
	shift
	grantio doctor >/tmp/doctor 2>&1 || status=$?
	for line; do
		grep -q "^$line" /tmp/doctor || {
			sed 's/^/GUEST /' /tmp/doctor
			echo "GUEST there is no line '$line'"
			return 1
		}
	done
	[ $status = "$wanted" ] || { sed 's/^/GUEST /' /tmp/doctor; return 1; }
}
wait_for 20 test -b /dev/vda
doctor 0 "ok       xen: Xen 4\..* guest$" "ok       xenstore: answers" "ok       virtio_blk: " \
	"ok       virtio-disk: .* (vda): restricted to what is granted"
grep -qs grantio /etc/modules && doctor 0 "ok       disk: .* connected to domain 0, vda"
echo "GUEST doctor is content"
told() { dd if=/dev/vda bs=4k count=1 iflag=direct 2>/dev/null | grep -q 'dom0 has looked'; }
wait_for 60 told
if grep -qs grantio /etc/modules; then
	basename /sys/bus/xen/devices/virtio_disk-* >/sys/bus/xen/drivers/grantio/unbind
	rmmod grantio
	doctor 1 "missing  grants: no grantio.ko -> apt install linux-headers-"
fi
