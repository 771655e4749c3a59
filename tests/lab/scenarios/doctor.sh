# SPDX-License-Identifier: MIT
# Labs: x86 arm64
# grantio doctor finds no fault in dom0 with grantiod, nor in a guest with a disk. When a part is taken away, doctor
# names that part and the remedy.
doctor() { # STATUS LINE...
	local wanted=$1 status=0 line
	shift
	grantio doctor --control "$RUN/control" >"$RUN/doctor" 2>&1 || status=$?
	for line; do
		grep -q "^$line" "$RUN/doctor" || {
			fail "doctor does not say '$line':"
			sed 's/^/LAB doctor: /' "$RUN/doctor"
			return 1
		}
	done
	[ $status = "$wanted" ] || {
		fail "doctor's exit status is $status, not $wanted:"
		sed 's/^/LAB doctor: /' "$RUN/doctor"
		return 1
	}
}

# grantiod with no more powers than grantiod.service leaves it, where there is setpriv to take the others away.
grantiod() {
	[ ! -x /bin/setpriv ] || exec /bin/setpriv --no-new-privs --bounding-set -all,+dac_override,+ipc_lock \
		/bin/grantiod "$@"
	exec /bin/grantiod "$@"
}

scenario() {
	local status=0 disk
	disk=$(image a.raw 4)
	doctor 1 "missing  grantiod: .* No such file or directory -> " || return 1
	grantiod_start || return 1
	doctor 0 "ok       xen: Xen 4\..* host$" "ok       xl-grants: " "ok       gntdev: " \
		"ok       xenstore: answers, this is domain 0$" \
		"ok       grantiod: answers at .*: 0 disks, 0 served$" || return 1
	mv /dev/xen/gntdev /dev/xen/gntdev.away
	doctor 1 "missing  gntdev: no /dev/xen/gntdev (grants) -> " "ok       evtchn: " || status=1
	mv /dev/xen/gntdev.away /dev/xen/gntdev
	[ $status = 0 ] || return 1
	guest_create g1 doctor "disk=['$DISK_SPEC,vdev=xvda,target=$disk']" || return 1
	wait_until 90 guest_log_has g1 'GUEST doctor is content' ||
		{ guest_tail g1; fail "the guest's doctor is not content"; return 1; }
	doctor 0 "ok       ioreq: in use$" "ok       grantiod: answers at .*: 1 disks, 1 served$" || return 1
	echo 'dom0 has looked' | dd of="$disk" conv=notrunc 2>/dev/null
	guest_finish g1 90
}
