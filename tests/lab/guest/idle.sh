# SPDX-License-Identifier: MIT
# Nothing but be there.
echo "GUEST idle"
while true; do sleep 1000; done
