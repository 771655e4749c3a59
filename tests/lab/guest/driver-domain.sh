# SPDX-License-Identifier: MIT
# The driver domain: grantiod, and an image that only this domain has. Then what dom0 asks for.
. /guest/lib.sh
mkdir -p /run/xen
dd if=/dev/urandom of=/run/a.raw bs=1M count=4 2>/dev/null
echo "GUEST image $(sum /run/a.raw)"
grantiod --control /run/control --image-dir /run 2>/run/grantiod.log &
wait_for 20 grep -q ready /run/grantiod.log
own=$(xenstore-read domid)
echo "GUEST serves as domain $own"
. /guest/commands.sh
