# SPDX-License-Identifier: MIT
# The driver domain: grantiod, and an image that only this domain has. dom0 asks for things through xenstore: a command,
# its number before it; what it printed and its status go to the console.
. /guest/lib.sh
mkdir -p /run/xen
dd if=/dev/urandom of=/run/a.raw bs=1M count=4 2>/dev/null
echo "GUEST image $(sum /run/a.raw)"
grantiod --control /run/control --image-dir /run 2>/run/grantiod.log &
wait_for 20 grep -q ready /run/grantiod.log
own=$(xenstore-read domid)
echo "GUEST serves as domain $own"

number=0
while true; do
	next=$(xenstore-read data/command 2>/dev/null) || next=
	[ "${next%% *}" = $((number + 1)) ] || { sleep 0.2; continue; }
	number=$((number + 1))
	set +e
	sh -c "${next#* }" >/run/output 2>&1
	echo "$number $?" >/run/status
	set -e
	sed "s/^/GUEST $number: /" /run/output
	echo "GUEST done $(cat /run/status)"
	xenstore-write data/done "$(cat /run/status)"
done
