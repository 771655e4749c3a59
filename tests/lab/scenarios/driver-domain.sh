# SPDX-License-Identifier: MIT
# Labs: arm64
# Xen: xsm=flask flask=enforcing lab=policy
# grantiod and the image are in a driver domain. The policy, which is loaded at boot, allows it what serving a guest
# takes, and nothing else. The scenario shows:
# - Its guest's disk works.
# - It can reach nothing of dom0 or of another guest, and of its own guest's memory only the pages that are granted.
# - Neither dom0 nor another domain can reach the pages that are granted to it, even if the policy allows that domain to
#   serve guests, too.
. /lab/driver.sh
scenario() {
	local directory
	domain_create other mainline idle domU_t && driver_create || return 1
	driver_guest g1 copy && directory=/local/domain/$DRIVER/backend/virtio_disk/$(guest_domid g1) &&
		guest_finish g1 60 || { in_driver "cat /run/grantiod.log" || :; say "$SAID"; return 1; }
	guest_log_has g1 "before $(driver_image)" || { fail "the guest read something else than the image"; return 1; }
	in_driver "sha256sum /run/a.raw" || { fail "no checksum: $SAID"; return 1; }
	guest_log_has g1 "after ${SAID%% *}" || { fail "the image is not what the guest wrote"; return 1; }
	wait_until 20 domain_gone g1 || { fail "the guest stays"; return 1; }
	no_waits || return 1
	[ -z "$(xenstore-ls "$directory" 2>/dev/null)" ] ||
		{ fail "grantiod leaves its directory: $(xenstore-ls "$directory" | tr '\n' ';')"; return 1; }

	domain_create rival driver commands grantio_backend_t && driver_guest g2 rest || return 1
	wait_until 60 guest_log_has g2 'GUEST rests' || { fail "no I/O"; guest_tail g2; return 1; }
	xl dmesg -c >/dev/null
	calls 0 && calls "$(guest_domid other)" && own_guest "$(guest_domid g2)" &&
		grants "$(guest_domid g2)" "$(guest_domid other)" &&
		others_grants "$(guest_domid g2)" || {
			say "Xen said: $(xl dmesg | tail -n 5 | tr '\n' ';')"
			return 1
		}
}
driver_image() { sed -n 's/.*GUEST image \([0-9a-f]*\).*/\1/p' "$GUEST_LOG/guest-driver.log"; }
domain_gone() { ! xl domid "$1" 2>/dev/null; }

# said WHAT LINE...: fail unless the last answer had these lines, and no others.
said() {
	local what=$1
	shift
	[ "$SAID" = "$(printf '%s\n' "$@")" ] || fail "$what: '$(echo "$SAID" | tr '\n' ';')'"
}

# DOMID is no guest of this driver domain: Xen itself refuses each call.
calls() { # DOMID
	local call expected=
	for call in frame table pause info maxmem vcpu param server interrupt \
		destroy; do expected="$expected$call refused: Permission denied
"; done
	in_driver "reach $1 frame table pause info maxmem vcpu param server interrupt destroy" ||
		{ fail "domain $1: $SAID"; return 1; }
	said "domain $1" "$expected"
}

# DOMID is its own guest: it may do what a device model does, and nothing else. The grant table is among that, since Xen
# has one permission for all resources (docs/driver-domain.md).
own_guest() { # DOMID
	in_driver "reach $1 server interrupt table"
	said "its guest" "server allowed" "interrupt allowed" "table allowed" || return 1
	in_driver "reach $1 frame pause info maxmem vcpu param destroy" || { fail "its guest: $SAID"; return 1; }
}

# Only the ring is granted now: three pages.
grants() { # GUEST OTHER
	in_driver "steal scan $1 256"
	said "its guest's grants" "3 of 256 references readable" || return 1
	in_driver "steal read $2 0"
	said "another guest's console" "refused: GNTST_permission_denied (-8)"
}

# The three pages, to dom0 and to another backend: Xen says for whom they are.
others_grants() { # GUEST
	local each="steal \$how $1 \$ref 2>/dev/null | sed s/:.*//"
	each="for ref in 8 9 10; do for how in read write map; do $each; done; done"
	SAID=$(eval "$each")
	said dom0 $(nine refused) && in_domain rival "$each" && said "another backend" $(nine refused) &&
		bad_domain 0 && bad_domain "$(guest_domid rival)"
}
nine() { for _ in 1 2 3 4 5 6 7 8 9; do echo "$1"; done; }
bad_domain() { # DOMID: nine times
	[ "$(xl dmesg | grep -c "d$1v0 Bad domain ($DRIVER != $1)")" = 9 ] ||
		fail "domain $1 was refused for another reason"
}
