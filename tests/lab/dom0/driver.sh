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
	wait_until 60 guest_log_has driver 'GUEST serves' ||
		{ fail "no grantiod in the driver domain"; guest_tail driver; return 1; }
	DRIVER=$(guest_domid driver)
}

# driver_guest NAME SCRIPT: a guest whose disk is the driver domain's image.
driver_guest() {
	domain_create "$1" mainline "$2" grantio_guest_t \
		"disk=['$DISK_SPEC,backend=driver,access=rw,vdev=xvda,target=/run/a.raw']"
}

# in_domain NAME COMMAND: run it in a domain that has guest/commands.sh; its output is in $SAID, its status is ours.
in_domain() {
	local data number status
	data=/local/domain/$(guest_domid "$1")/data
	number=$(xenstore-read "$data/done" 2>/dev/null | cut -d' ' -f1)
	number=$((${number:-0} + 1))
	xenstore-write "$data/command" "$number $2"
	wait_until 60 in_domain_done "$1" "$data" $number ||
		{ fail "domain $1 does not answer '$2'"; guest_tail "$1"; return 1; }
	status=$(xenstore-read "$data/done")
	SAID=$(tr -d '\r' <"$GUEST_LOG/guest-$1.log" | sed -n "s/^GUEST $number: //p")
	return "${status#* }"
}
in_domain_done() { xenstore-read "$2/done" 2>/dev/null | grep "^$3 " && guest_log_has "$1" "GUEST done $3 "; }
in_driver() { in_domain driver "$1"; } # COMMAND
