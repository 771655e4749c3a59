# SPDX-License-Identifier: MIT
# Labs: arm64
# filesystem.sh with Debian's own kernel as the guest, and grantio.ko loaded before the drivers.
. /lab/scenarios/filesystem.sh
GUEST_KERNEL=stock
