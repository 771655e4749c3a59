# SPDX-License-Identifier: MIT
# The demonstration of `make run-xen`, in dom0: two stock guests with virtio disks, and what a program in the backend's
# domain is refused. Sourced by init; ends with the machine. What the host shows begins with "LAB show".
. /lab/lib.sh
scenario_defaults
SCENARIO=demo RUN=/run/demo PORTS=$(count_ports)
mkdir -p "$RUN"

show() { printf 'LAB show %s\n' "$*"; }
give_up() {
	show "  FAILED: $*"
	for log in "$GUEST_LOG"/guest-*.log "$RUN"/grantiod.log "$RUN"/*.xl "$RUN"/watch "$RUN"/step; do
		[ ! -s "$log" ] || tail -n 15 "$log" | sed "s/^/LAB show   ${log##*/}: /"
	done
	poweroff -f
}
# step WHAT COMMAND...: run it, say how long it took and the last line that it said.
step() {
	local what=$1 begin
	shift
	begin=$(cut -d' ' -f1 /proc/uptime)
	"$@" >"$RUN/step" 2>&1 || give_up "$what"
	show "$(cut -d' ' -f1 /proc/uptime | awk -v b="$begin" -v w="$what" -v r="$(tail -n 1 "$RUN/step")" \
		'{ printf "  ok %5.1f s  %-70s %s", $1 - b, w, r }')"
}
sum() { sha256sum "$1" | cut -d' ' -f1; }
short() { echo "sha256 $(echo "$1" | cut -c1-16)..."; }

# ---- the machine -------------------------------------------------------------------------------------------------

make_images() {
	rw=$(image rw.raw 16) ro=$(image ro.raw 4) other=$(image other.raw 8)
	dd if=/dev/urandom of="$ro" bs=1M count=4 conv=notrunc 2>/dev/null
	dd if=/dev/urandom of="$other" bs=1M count=8 conv=notrunc 2>/dev/null
	ro_sum=$(sum "$ro") other_sum=$(sum "$other")
}
create() { guest_create "$@" && echo "domain $(guest_domid "$1")"; }
disk() { echo "'$DISK_SPEC,access=$3,vdev=$2,target=$1'"; } # IMAGE VDEV MODE

# ---- what the guests do, checked from outside
# -------------------------------------------------------------------------

# finished NAME: the guest says how it went, and powers off.
finished() { guest_finish "$1" 150; }
file_system() {
	local file
	e2fsck -fn "$rw" >"$RUN/fsck" 2>&1 || { cat "$RUN/fsck"; return 1; }
	mount -o loop,ro "$rw" /mnt || return 1
	file=$(sum /mnt/file)
	umount /mnt
	guest_log_has guest-1 "file $file" && echo "clean; $(short "$file")"
}
read_only() { guest_log_has guest-1 "readonly $ro_sum" && [ "$(sum "$ro")" = "$ro_sum" ] && short "$ro_sum"; }
first_read() { guest_log_has guest-2 "before $other_sum" && short "$other_sum"; }
then_wrote() { guest_log_has guest-2 "after $(sum "$other")" && short "$(sum "$other")"; }

# ---- a program in the backend's domain
# ---------------------------------------------------------------------------------

# the script in the guest reads its first sector
tell_guest() { printf '%s' "$1" | dd of="$other" conv=notrunc,fsync 2>/dev/null; }
idle() {
	wait_until 120 guest_log_has guest-3 'GUEST idle' && grants "$domid" list >"$RUN/idle" &&
		echo "$(grep -c . "$RUN/idle") references granted: rings, console, xenstore"
}
busy() {
	tell_guest busy && wait_until 90 guest_log_has guest-3 'GUEST busy' && echo "4 KiB writes beside 64 KiB reads"
}
probed() { grants "$domid" probe >"$RUN/probe" 2>&1 || { cat "$RUN/probe"; return 1; }; tail -n 1 "$RUN/probe"; }
watched() {
	local watch
	grants "$domid" watch >"$RUN/watch" 2>&1 &
	watch=$!
	wait_until 90 grep -q enough "$RUN/watch" || { kill $watch; return 1; }
	tell_guest idle
	wait_until 90 guest_log_has guest-3 'GUEST quiet' || { kill $watch; return 1; }
	kill $watch
	wait $watch || return 1
	# samples N constant N most N ever N now N ...
	awk '$1 == "samples" && $9 == "now" {
		print $2 " samples: at most " $6 " references at a time, " $10 " at the end" }' "$RUN/watch"
}
# "CLASS, ATTEMPT: STATUS COUNT" as rows. What Xen lets through is what the guest grants just then.
table() {
	show "  $(printf '%-24s %-16s %8s  %s' 'a reference that is' 'attempt' 'times' "Xen's answer")"
	sed -n 's/^\([a-z -]*\), \([a-z -]*\): \(GNTST_[a-z_]*\) \([0-9]*\)$/\1|\2|\4|\3/p' "$RUN/probe" "$RUN/watch" |
		awk -F'|' '{ answer = ($4 == "GNTST_okay" ? "let through: " : "refused: ") $4
			printf "LAB show   %-24s %-16s %8d  %s\n", $1, $2, $3, answer }'
}
refused() { # CLASS: nothing of it was let through, and something was tried
	grep -h "^$1," "$RUN/probe" "$RUN/watch" >"$RUN/class"
	[ -s "$RUN/class" ] && ! grep "$2.*GNTST_okay" "$RUN/class"
}

system="$(xl info | sed -n 's/^xen_version *: /Xen /p'), dom0 on Linux $(uname -r | cut -d- -f1), emulated by QEMU."
show "$system Guests on Debian's own kernel, by Debian's own xl."
show
show "Two guests, three disks, grantiod in dom0"
step 'make images' make_images
step 'start grantiod' grantiod_start
step 'xl create guest-1: xvda, 16 MiB; xvdb, 4 MiB, read-only' create guest-1 filesystem \
	"disk=[$(disk "$rw" xvda rw),$(disk "$ro" xvdb ro)]"
step 'xl create guest-2: xvda, 8 MiB' create guest-2 copy "disk=[$(disk "$other" xvda rw)]"
step 'guest-1: mkfs.ext4, mount, write 3 MiB, mount again, read' finished guest-1
step 'dom0: e2fsck of its image; the file is what it wrote' file_system
step 'guest-1: writes to xvdb fail; dom0: it is as it was' read_only
step 'guest-2: reads its disk, writes 2 MiB to it, reads again' finished guest-2
step 'dom0: what it read first is what the image had' first_read
step 'dom0: what it read then is what the image has' then_wrote
step 'dom0: nothing is left of both' no_leaks
show
show "The point of it all: a program in the backend's domain takes what it can get of guest-3"
GUEST_ADD=fio step 'xl create guest-3: xvda' create guest-3 isolation "disk=[$(disk "$other" xvda rw)]"
domid=$(guest_domid guest-3)
step 'its disk is open and idle' idle
step 'its disk is busy' busy
step 'copy from, copy to, map: each reference that there is, and more' probed
step 'sample what can be reached while the disk is busy, then is not' watched
show
table
refused 'not granted' '' && refused ended '' && refused read-only '\(to\|writable\)' ||
	give_up 'something was let through'
xl destroy guest-3
step 'xl destroy guest-3: nothing is left' no_leaks
grantiod_stop
show
moral="beyond what a request lends for as long as it runs, Xen gives the backend nothing"
show "All of it went well: $moral. ($(cut -d. -f1 /proc/uptime) s)"
poweroff -f
