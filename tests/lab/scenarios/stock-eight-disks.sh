# SPDX-License-Identifier: MIT
# Labs: arm64
# eight-disks.sh with Debian's own kernel as the guest, which reaches all of them by messages.
. /lab/scenarios/eight-disks.sh
GUEST_KERNEL=stock
