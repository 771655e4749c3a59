# SPDX-License-Identifier: MIT
# Labs: arm64
# Xen: xsm=flask flask=enforcing lab=policy
# The policy's rules for backends are the ones that are needed, and all of them are. Without them a guest is not served;
# in permissive mode, and still without them, Xen names each that it would have refused: that list is the module's.
. /lab/driver.sh
scenario() {
	local needed=/lab/rules
	xl loadpolicy /lab/policy-bare || { fail "the policy cannot be loaded"; return 1; }
	driver_create || return 1
	GUEST_OPTIONS=-p driver_guest g1 copy 2>/dev/null &
	wait_until 60 driver_refused || {
		fail "the driver domain may serve without the rules"
		guest_tail driver
		return 1
	}
	wait $! && { fail "xl takes a disk that is not served"; return 1; }
	xl dmesg -c >/dev/null
	xl setenforce 0
	driver_guest g2 copy || return 1
	guest_finish g2 60 || return 1
	xl setenforce 1
	denials | sort -u >"$RUN/denied"
	xl loadpolicy /lab/policy
	cmp "$RUN/denied" $needed || {
		fail "needed are other rules than there are: $(diff $needed "$RUN/denied" | tr '\n' ';')"
		return 1
	}
}
driver_refused() { in_driver "grep -m1 'd[0-9]*/xvda.*ermission denied' /run/grantiod.log"; }

# What was refused to the driver domain, or in its name: "source target class permission", a line each.
denials() {
	local name='\([A-Za-z0-9_]*\)'
	local contexts=".*scontext=[^ ]*:$name tcontext=[^ ]*:$name tclass=$name.*"
	xl dmesg | sed -n "s/.*avc: *denied *{ \([^}]*\) } $contexts/\2 \3 \4 \1/p" |
		while read -r source target class permissions; do
			for permission in $permissions; do echo "$source $target $class $permission"; done
		done
}
