# SPDX-License-Identifier: MIT
# A person's shell in dom0 (`make lab-shell`), with grantiod and a guest that has a virtio disk. Sourced by init; ends
# with the machine.
. /lab/lib.sh
scenario_defaults
SCENARIO=shell RUN=/run/lab
GRANTIOD_CONTROL=/run/grantiod/control # where the service has it, and grantio looks
mkdir -p "$RUN" /run/grantiod
disk=$(image disk.raw 64)
grantiod_start && guest_create g1 shell "disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$disk']" &&
	wait_until 60 guest_log_has g1 'GUEST shell' || guest_tail g1

cat >/lab/profile <<'EOF_PROFILE'
PS1='dom0# '
poweroff() { /bin/poweroff -f; }
EOF_PROFILE
cat <<EOF_HELP

This is dom0 of a machine with $(xl info | sed -n 's/^xen_version *: /Xen /p'). grantiod serves guest g1, whose disk is
$disk here, /dev/vda there.

  xl list                                the domains
  grantio doctor                         what this dom0 has, and lacks
  grantio disk list                      the virtio disks, and who serves them
  grantio disk stats                     what grantiod has counted for each
  xl console g1                          the guest's shell (dd if=/dev/vda ...); Ctrl-] comes back
  tail $RUN/grantiod.log             what grantiod has to say
  xl destroy g1; xl create $RUN/g1.cfg
                                         end the guest; make it anew
  xl debug-keys g; xl dmesg              all grants that are in use
  ls /lab/scenarios                      what the tests do; lib.sh beside it has their helpers
  poweroff                               leave

EOF_HELP
# The terminal's size is known to the host only.
for word in $(cat /proc/cmdline); do
	case $word in rows=*) stty rows "${word#rows=}" ;; cols=*) stty cols "${word#cols=}" ;; esac
done </dev/console 2>/dev/null
cd / || exit 1
ENV=/lab/profile setsid cttyhack sh -i
poweroff -f
