#!/bin/sh
# SPDX-License-Identifier: MIT
# Run a build's tests; print what failed, then one line of counts. Usage: test.sh BUILD_DIR [meson test options]
set -eu
dir=$1; shift
status=0
# The time limits in the meson.build files are for a machine at rest. This one may be slow, or busy with other work.
meson test -C "$dir" --no-rebuild --print-errorlogs --timeout-multiplier 5 "$@" || status=$?
python3 "$(dirname "$0")/count_tests.py" "$dir/meson-logs/testlog.json" || status=1
exit $status
