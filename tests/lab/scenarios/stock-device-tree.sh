# SPDX-License-Identifier: MIT
# Labs: arm64
# device-tree.sh with Debian's own kernel as the guest: grantio.ko takes by messages what the device tree describes,
# xl's part and ours.
. /lab/scenarios/device-tree.sh
GUEST_KERNEL=stock
