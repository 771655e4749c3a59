# SPDX-License-Identifier: MIT
# What a scenario may use; it runs in dom0's busybox sh. A scenario is a file scenarios/NAME.sh with a function
# `scenario`; it passes if that returns 0. Every wait has a limit. Output that starts with "LAB" is what the host reads.

RUN=/run/scenario
GUEST_LOG=/var/log/xen/console

say() { echo "LAB note $SCENARIO: $*"; }
fail() { say "$*"; return 1; }

# wait_until SECONDS COMMAND...: poll it ten times in the first second, and then twice a second.
wait_until() {
	local left=$(($1 * 10)) pauses=0 pause=1
	shift
	while ! "$@" >/dev/null 2>&1; do
		[ $left -gt 0 ] || return 1
		# what takes long is not to be slowed down by looking: there is one processor
		[ $((pauses += 1)) -le 10 ] || pause=5
		sleep 0.$pause
		left=$((left - pause))
	done
}

# image NAME MEGABYTES: a sparse raw image; prints its path.
image() { truncate_file "$RUN/$1" "$2"; echo "$RUN/$1"; }

# disks_line "KIND VDEV IMAGE"...: the disk=[...] of a guest. KIND is rw or ro (a disk that grantiod serves) or pv (one
# that blkback serves).
disks_line() {
	local disk kind place list=
	for disk; do
		kind=${disk%% *} place=${disk#* }
		place="vdev=${place%% *},target=${place#* }"
		case $kind in
		pv) disk="format=raw,backendtype=phy,access=rw,$place" ;;
		*) disk="$DISK_SPEC,access=$kind,$place" ;;
		esac
		list="$list${list:+,}'$disk'"
	done
	echo "disk=[$list]"
}
truncate_file() { dd if=/dev/zero of="$1" bs=1M count=0 seek="$2" 2>/dev/null; }

# grantiod_start [ARGUMENT]...: $GRANTIOD_PROGRAM, which a scenario may set, until the scenario ends. Its control socket
# is in $RUN, unless GRANTIOD_CONTROL says otherwise.
grantiod_start() {
	rm -f "$RUN/grantiod.log" # of the one before
	"$GRANTIOD_PROGRAM" --control "${GRANTIOD_CONTROL:-$RUN/control}" "$@" 2>"$RUN/grantiod.log" &
	GRANTIOD=$!
	wait_until 10 grep -q ready "$RUN/grantiod.log" || { fail "grantiod is not ready"; return 1; }
	FDS=$(count_fds) MAPS=$(count_maps)
}
grantiod_stop() {
	[ -n "$GRANTIOD" ] || return 0
	kill "$GRANTIOD" 2>/dev/null
	wait_until 60 grantiod_gone || { kill -9 "$GRANTIOD"; fail "grantiod did not stop"; }
	GRANTIOD=
}
grantiod_gone() { ! kill -0 "$GRANTIOD" 2>/dev/null; }

# The guest's kernel is $GUEST_KERNEL, one of lab_guest_kernels; a scenario may set it.
# What GUEST_ADD names (fio: /bin/fio) is put into its initrd; GUEST_EXTRA goes to its kernel's command line.
# guest_create NAME SCRIPT [xl configuration lines]...: start a guest that runs /guest/SCRIPT.sh. $GUEST_OPTIONS are for
# xl create. Debian's own Arm64 kernel waits for the driver of a device's IOMMU for 10 seconds, in which a busy host may
# not have loaded grantio.ko: here it waits for longer.
guest_create() {
	local name=$1 script=$2 line wait=
	shift 2
	[ "$GUEST_KERNEL" != stock ] || wait=deferred_probe_timeout=120
	{
		printf 'name="%s"\n' "$name"
		cat "/lab/guest-$GUEST_KERNEL.cfg"
		printf 'extra="console=hvc0 earlyprintk=xen loglevel=4 panic=1 rdinit=/init lab=%s %s"\n' "$script" \
			"$GUEST_ARGS $wait $GUEST_EXTRA"
		[ -z "$GUEST_ADD" ] || guest_ramdisk
		for line; do printf '%s\n' "$line"; done
	} >"$RUN/$name.cfg"
	: >"$GUEST_LOG/guest-$name.log"
	guest_xl "$name"
}
# guest_xl NAME: give $RUN/NAME.cfg to xl, which logs what it waits for.
guest_xl() {
	xl -vvv create $GUEST_OPTIONS "$RUN/$1.cfg" >"$RUN/$1.xl" 2>&1 && return 0
	mv "$RUN/$1.xl" "$RUN/$1.xl-failed"
	fail "xl create $1: $(grep -v -e ': debug:' -e ': detail:' "$RUN/$1.xl-failed" | head -n 5 | tr '\n' ';')"
}
guest_destroy() { xl -vvv destroy "$1" >>"$RUN/destroy.xl" 2>&1; } # NAME
# A kernel unpacks one archive after the other.
guest_ramdisk() {
	local add=$RUN/guest-$GUEST_KERNEL-$GUEST_ADD.cpio.gz
	[ -f "$add" ] || cat "/lab/guest-$GUEST_KERNEL.cpio.gz" "/lab/add-$GUEST_ADD.cpio.gz" >"$add"
	printf 'ramdisk="%s"\n' "$add"
}
guest_domid() { xl domid "$1" 2>/dev/null; }

# guest_finish NAME SECONDS: wait until the guest has said how it went, and is gone.
guest_finish() {
	wait_until "$2" guest_log_has "$1" -e 'GUEST ok' -e 'GUEST failed' ||
		{ fail "guest $1 said nothing in $2 s"; guest_tail "$1"; return 1; }
	guest_log_has "$1" 'GUEST ok' || { fail "guest $1 failed"; guest_tail "$1"; return 1; }
}
# guest_by_messages NAME NUMBER: a guest on Arm with grantio.ko, which has ended, reached so many devices by messages.
guest_by_messages() {
	guest_log_has "$1" "devices of grantio's: $2" || fail "guest $1 does not reach $2 devices by messages"
}
guest_log_has() { local name=$1; shift; grep -q "$@" "$GUEST_LOG/guest-$name.log"; }
guest_tail() { tail -n 25 "$GUEST_LOG/guest-$1.log" | sed 's/^/LAB guest: /'; }
# The leak oracle, used after every scenario, when its guests are destroyed; each part waits for what comes late.
# - domains: none but dom0, zombies included. An ioreq server is part of its guest, and gone with it.
# - grantiod: as many open files, and mappings of Xen's devices, as when it started. What it maps of a guest keeps that
# a zombie.
# - dom0's event channels to guests, by Xen's own list (`xl debug-keys e`): as many as before the scenario. xenstored's
# and
#   xenconsoled's are among them, and an ioreq server's in a guest that lives.
# - grants that are in use, by Xen's own list (`xl debug-keys g`; dom0 itself grants nothing here): none.
# - xenstore: no backend's directory of a guest's.
no_leaks() {
	wait_until 20 no_domains || { fail "domains are left: $(xl list | tail -n +3 | tr '\n' ';')"; return 1; }
	[ -z "$GRANTIOD" ] || wait_until 10 no_fds || {
		ls -l "/proc/$GRANTIOD/fd" | awk '{ print $NF }' | sort | uniq -c >"$RUN/files"
		fail "grantiod has $(count_fds) open files, and had $FDS: $(tr '\n' ';' <"$RUN/files")"
		return 1
	}
	[ -z "$GRANTIOD" ] || wait_until 10 no_maps ||
		{ fail "grantiod has $(count_maps) mappings of Xen's, and had $MAPS"; return 1; }
	wait_until 10 no_ports || { fail "dom0 has $(count_ports) event channels to guests, and had $PORTS"; return 1; }
	wait_until 10 no_backends || { fail "backends are left in xenstore: $(backends | tr '\n' ' ')"; return 1; }
	no_foreign_grants || fail "grants are still mapped"
}
no_domains() { [ "$(xl list | wc -l)" = 2 ]; }
count_fds() { ls "/proc/$GRANTIOD/fd" | wc -l; }
no_fds() { [ "$(count_fds)" -le "$FDS" ]; }
count_maps() { grep -c -e /dev/xen -e /proc/xen "/proc/$GRANTIOD/maps" || :; }
no_maps() { [ "$(count_maps)" -le "$MAPS" ]; }
no_guests() { [ "$(xenstore-list /local/domain)" = 0 ]; }

xen_key() { xl dmesg -c >/dev/null; xl debug-keys "$1"; xl dmesg | tr -d '\r'; } # KEY: what Xen says to it
# States 2 and 3: waits for a domain, is bound to one.
count_ports() {
	xen_key e | awk '/information for domain/ { dom0 = / 0:/ } dom0 && /\]: s=[23] / { n++ } END { print n + 0 }'
}
no_ports() { [ "$(count_ports)" -le "$PORTS" ]; }
backends() {
	for kind in virtio_disk virtio vbd; do
		xenstore-list "/local/domain/0/backend/$kind" 2>/dev/null | sed "s/^/$kind-/"
	done
}
no_backends() { [ -z "$(backends)" ]; }
no_foreign_grants() { ! xen_key g | grep -qE '^\(XEN\) +\[ *0?x?[0-9a-f]+\]'; }

# xl gives a backend 10 s to get to a state, and then gives up, or goes on without it. What it has done, and its
# processes that wait for a guest's end have done, was done by the backend's word: there is no such line. On a host that
# is busy with other things ten seconds of dom0's can be few: so this is said after every scenario, and failed by
# xl-waits.sh only. A creation that failed is a scenario's own business.
no_waits() {
	! grep -h -e 'wanted state.*timed out' -e 'xswait timeout' -e 'forced remove' $(xl_logs) /dev/null \
		>"$RUN/waits" || fail "xl ran into a time limit of its own: $(head -n 1 "$RUN/waits")"
}
xl_logs() { ls "$RUN"/*.xl "$GUEST_LOG"/../xl-*.log* 2>/dev/null; }

# mapped_grants DOMID: which of its references are mapped or being copied from; not those of its console and xenstore
# ring (0, 1).
mapped_grants() {
	xen_key g | sed -n "/grant-table for remote d$1 /,/grant-table for remote/s/^(XEN) \[0x\([0-9a-f]*\)\].*/\1/p" |
		grep -v '^00[01]$'
}

# What a scenario may set, as it is before it does.
scenario_defaults() {
	GRANTIOD= GRANTIOD_PROGRAM=grantiod GUEST_EXTRA= GUEST_ADD= GUEST_OPTIONS= GUEST_KERNEL=$GUEST_KERNEL_FIRST
}

scenario_run() {
	SCENARIO=$1
	local start end status=0
	start=$(cut -d. -f1 /proc/uptime)
	rm -rf "$RUN" "$GUEST_LOG"/../xl-*
	mkdir -p "$RUN"
	scenario_defaults
	PORTS=$(count_ports)
	unset -f scenario
	. "/lab/scenarios/$1.sh"
	scenario || status=1
	for name in $(xl list 2>/dev/null | awk 'NR > 1 && $2 != 0 { print $1 }'); do guest_destroy "$name"; done
	no_leaks || status=1
	no_waits
	grantiod_stop || status=1
	end=$(cut -d. -f1 /proc/uptime)
	if [ $status = 0 ]; then echo "ok $1 $((end - start))" >/run/result; else
		[ -f "$RUN/grantiod.log" ] && tail -n 30 "$RUN/grantiod.log" | sed 's/^/LAB grantiod: /'
		echo "failed after $((end - start)) s" >/run/result
	fi
}

# scenario_hung NAME SECONDS: what there is to see of a scenario that takes too long, just before it is ended.
scenario_hung() {
	local log
	echo "LAB $1 is ended after $2 s"
	ps -o pid,ppid,stat,args | grep -v -e '\[' -e 'ps -o' | sed 's/^/LAB process: /'
	xl list | sed 's/^/LAB xl list: /'
	for log in "$GUEST_LOG"/guest-*.log; do tail -n 12 "$log" | sed "s/^/LAB $(basename "$log"): /"; done
	[ -f "$RUN/grantiod.log" ] && tail -n 30 "$RUN/grantiod.log" | sed 's/^/LAB grantiod: /'
	return 0
}
