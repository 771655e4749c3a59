# SPDX-License-Identifier: MIT
# Checks for bash scenarios, as TAP; sourced beside machine.sh, whose $work it uses.

tests=0 failures=0

# Run a function in this shell; what it prints is shown when it fails.
check() { # NAME FUNCTION ARGUMENT...
	local name=$1
	shift
	tests=$((tests + 1))
	if "$@" >"$work/check.log" 2>&1; then
		echo "ok $tests - $name"
	else
		echo "not ok $tests - $name"
		sed 's/^/# /' "$work/check.log"
		failures=$((failures + 1))
	fi
}

# One line on stderr that holds TEXT, and exit status STATUS.
one_line() { # STATUS TEXT COMMAND...
	local expected=$1 text=$2 status=0
	shift 2
	timeout -k 5 60 "$@" >"$work/out" 2>"$work/err" || status=$?
	cat "$work/err"
	[ "$status" = "$expected" ] && [ "$(wc -l <"$work/err")" = 1 ] && grep -qF -- "$text" "$work/err"
}

# How many tests there were; the exit status says whether all went well.
checks_end() {
	echo "1..$tests"
	[ "$failures" = 0 ]
}
