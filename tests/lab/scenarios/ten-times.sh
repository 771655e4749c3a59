# SPDX-License-Identifier: MIT
# Labs: x86 arm64
# Full: x86
# Limit: 1500
# Three guests are started $LAB_TIMES times each: one reboots, one is destroyed in the middle of its I/O and created
# again, and one is shut down and created again. Afterwards no_leaks looks for what they left behind.
# On Arm the three run at once. On x86 they run one after the other, which takes as long: a boot there takes 13 s of the
# only processor, and three at once left dom0 too little time for xl, whose limits are 10 s.
scenario() {
	local failed=0 job jobs=
	grantiod_start || return 1
	for job in reboots destroys shutdowns; do
		set -- "disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$(image $job.raw 8)']"
		if [ -f /lab/Image-stock ]; then
			$job "$1" &
			jobs="$jobs $!"
		else
			$job "$1" || failed=1
		fi
	done
	for job in $jobs; do wait "$job" || failed=1; done
	say "$LAB_TIMES times each"
	return $failed
}
reboots() { # DISK: the guest counts on its disk
	GUEST_EXTRA="end=reboot times=$LAB_TIMES" guest_create g1 count "$1" 'on_reboot="restart"' || return 1
	wait_until 600 guest_log_has g1 "GUEST round $LAB_TIMES" || {
		fail "the guest did not come back: $(tail -n 5 /var/log/xen/xl-g1.log | tr '\n' ';')"
		guest_tail g1
		return 1
	}
	wait_until 30 gone g1 || fail "the guest that rebooted stays"
}
destroys() { # DISK
	local round=0
	while [ $round -lt "$LAB_TIMES" ]; do
		round=$((round + 1))
		guest_create g2 busy "$1" || return 1
		wait_until 120 guest_log_has g2 'GUEST busy' ||
			{ fail "round $round: no I/O"; guest_tail g2; return 1; }
		guest_destroy g2 || { fail "round $round: xl destroy"; return 1; }
	done
}
shutdowns() { # DISK
	local round=0
	while [ $round -lt "$LAB_TIMES" ]; do
		round=$((round + 1))
		GUEST_EXTRA=end=stay guest_create g3 count "$1" || return 1
		wait_until 120 guest_log_has g3 'GUEST end' ||
			{ fail "round $round: nothing"; guest_tail g3; return 1; }
		guest_log_has g3 "GUEST round $round" ||
			{ fail "round $round: the guest has another disk"; guest_tail g3; return 1; }
		xl shutdown g3 >/dev/null && wait_until 60 gone g3 || { fail "round $round: xl shutdown"; return 1; }
	done
}
gone() { ! xl domid "$1"; }
