#!/bin/sh
# SPDX-License-Identifier: MIT
# Run a build's tests; print what failed, then one line of counts. Usage: test.sh BUILD_DIR [meson test options]
set -eu
dir=$1; shift
status=0
# The limits of the meson.build files are a machine's at rest: here it may be slow, or have others to serve.
meson test -C "$dir" --no-rebuild --print-errorlogs --timeout-multiplier 5 "$@" || status=$?
python3 "$(dirname "$0")/count_tests.py" "$dir/meson-logs/testlog.json" || status=1
exit $status
