# SPDX-License-Identifier: MIT
# Labs: arm64
# Xen's default policy on Arm does not allow driver domains. A disk from one is refused, which xl and grantiod both say,
# and grantiod keeps running.
. /lab/driver.sh
scenario() {
	driver_create || return 1
	driver_guest g1 copy 2>/dev/null && { fail "xl takes a disk that is not served"; return 1; }
	in_driver "grep 'd[0-9]*/xvda.*not permitted' /run/grantiod.log" ||
		{ in_driver "cat /run/grantiod.log"; fail "no word of it: $SAID"; return 1; }
	in_driver "pidof grantiod" || { fail "grantiod has ended"; return 1; }
}
