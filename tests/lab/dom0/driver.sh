# SPDX-License-Identifier: MIT
# Scenarios with a driver domain: it runs grantiod and has the image (guest/driver-domain.sh).

# domain_create NAME KERNEL SCRIPT TYPE [CONFIGURATION LINE]...: a domain with a label.
domain_create() {
	local name=$1 script=$3 type=$4
	GUEST_KERNEL=$2
	shift 4
	guest_create "$name" "$script" "seclabel=\"system_u:system_r:$type\"" "$@"
}

# driver_create: the driver domain; sets DRIVER, its id.
driver_create() {
	GUEST_EXTRA=xen_privcmd.unrestricted=1 domain_create driver driver driver-domain grantio_backend_t || return 1
	wait_until 60 guest_log_has driver 'GUEST serves' || { fail "no grantiod in the driver domain"; guest_tail driver; return 1; }
	DRIVER=$(guest_domid driver)
	NUMBER=0
}

# driver_guest NAME SCRIPT: a guest whose disk is the driver domain's image.
driver_guest() {
	domain_create "$1" mainline "$2" grantio_guest_t "disk=['$DISK_SPEC,backend=driver,access=rw,vdev=xvda,target=/run/a.raw']"
}

# in_driver COMMAND: run it in the driver domain; its output is in $SAID, its status is ours.
in_driver() {
	local status
	NUMBER=$((NUMBER + 1))
	xenstore-write "/local/domain/$DRIVER/data/command" "$NUMBER $1"
	wait_until 30 in_driver_done || { fail "the driver domain does not answer '$1'"; guest_tail driver; return 1; }
	status=$(xenstore-read "/local/domain/$DRIVER/data/done")
	SAID=$(tr -d '\r' <"$GUEST_LOG/guest-driver.log" | sed -n "s/^GUEST $NUMBER: //p")
	return "${status#* }"
}
in_driver_done() { xenstore-read "/local/domain/$DRIVER/data/done" 2>/dev/null | grep "^$NUMBER " && guest_log_has driver "GUEST done $NUMBER "; }
