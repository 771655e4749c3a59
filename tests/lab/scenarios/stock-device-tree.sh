# SPDX-License-Identifier: MIT
# Labs: arm64
# device-tree.sh with Debian's own kernel as the guest: the tree, xl's part and ours, is grantio.ko's to follow.
. /lab/scenarios/device-tree.sh
GUEST_KERNEL=stock
