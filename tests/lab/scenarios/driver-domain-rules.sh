# SPDX-License-Identifier: MIT
# Labs: arm64
# Xen: xsm=flask flask=enforcing lab=policy
# The FLASK module's rules for a backend are exactly those that it needs. First the policy is loaded without them: then
# grantiod in a driver domain cannot serve a guest. After that Xen is permissive: it allows everything, and logs each
# access that the policy would have refused. The list of these must be the list of the module's rules.
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

# Print what Xen would have refused to the driver domain, and to others on its behalf: a line "source target class
# permission" for each.
denials() {
	local name='\([A-Za-z0-9_]*\)'
	local contexts=".*scontext=[^ ]*:$name tcontext=[^ ]*:$name tclass=$name.*"
	xl dmesg | sed -n "s/.*avc: *denied *{ \([^}]*\) } $contexts/\2 \3 \4 \1/p" |
		while read -r source target class permissions; do
			for permission in $permissions; do echo "$source $target $class $permission"; done
		done
}
