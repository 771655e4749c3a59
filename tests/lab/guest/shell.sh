# SPDX-License-Identifier: MIT
# A shell on the guest's console, for `make lab-shell`; the guest powers off when it ends.
. /guest/lib.sh
wait_for 20 test -b /dev/vda
echo "GUEST shell"
PS1='g1# ' setsid cttyhack sh -i
