# SPDX-License-Identifier: MIT
# What a guest's script may use; it runs with `sh -eu`.

wait_for() { # SECONDS COMMAND...
	tries=$(($1 * 10))
	shift
	while ! "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		sleep 0.1
	done
}
sum() { sha256sum "$1" | cut -d' ' -f1; }
