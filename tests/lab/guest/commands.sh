# SPDX-License-Identifier: MIT
# dom0 asks for things through xenstore (dom0/driver.sh): a command, its number before it; what it printed and its
# status go to the console.
mkdir -p /run
number=0
xenstore-watch data/command | while read -r _; do
	next=$(xenstore-read data/command 2>/dev/null) || next=
	[ "${next%% *}" = $((number + 1)) ] || continue
	number=$((number + 1))
	set +e
	sh -c "${next#* }" >/run/output 2>&1 </dev/null
	echo "$number $?" >/run/status
	set -e
	sed "s/^/GUEST $number: /" /run/output
	echo "GUEST done $(cat /run/status)"
	xenstore-write data/done "$(cat /run/status)"
done
