# SPDX-License-Identifier: MIT
# What the scripts that check something share. Sourced, by sh and by bash.

passed=0 failed=0

# Say how a check went; if it failed, after the end of its log.
report() { # NAME STATUS [LOG]
	if [ "$2" = 0 ]; then
		echo "ok - $1"
		passed=$((passed + 1))
	else
		[ -z "${3-}" ] || tail -n 25 "$3" | sed 's/^/  /'
		echo "not ok - $1"
		failed=$((failed + 1))
	fi
}

# The closing line. The exit status says whether all went well.
report_end() {
	echo "$passed passed, $failed failed"
	[ "$failed" = 0 ]
}

# The freestanding guest library may leave to its host: system services, and the four functions that GCC asks of any.
guest_needs() { # LIBRARY NM
	guest_extra=$("$2" --undefined-only --format=posix "$1" 2>/dev/null | awk 'NF > 1 { print $1 }' | sort -u |
		grep -Ev '^(gio_|memcpy$|memset$|memmove$|memcmp$|_GLOBAL_OFFSET_TABLE_$|__stack_chk)')
	[ -z "$guest_extra" ] && return 0
	echo "$guest_extra" | sed 's/^/  needs: /'
	return 1
}
