# SPDX-License-Identifier: MIT
# Labs: arm64
# isolation.sh with Debian's own kernel as the guest, whose disk has messages: what dom0 reaches, at all times, is the
# rings, the two pages of messages and the pool.
. /lab/scenarios/isolation.sh
GUEST_KERNEL=stock
