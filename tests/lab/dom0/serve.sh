# SPDX-License-Identifier: MIT
# Run the scenarios that the host (lib/drive.py) asks for on the console.

# run_one SCENARIO LIMIT: in a session of its own, so that all of it can be ended when it takes longer; sets $result.
run_one() {
	local run watch
	rm -f /run/result
	setsid sh -c '. /lab/lib.sh; scenario_run "$1"' lab "$1" </dev/null &
	run=$!
	(sleep "$2" && sh -c '. /lab/lib.sh; scenario_hung "$1" "$2"' lab "$1" "$2" && kill -9 "-$run") </dev/null &
	watch=$!
	wait $run
	result=$(cat /run/result 2>/dev/null || echo "took longer than $2 s")
	kill $watch 2>/dev/null
}

# The host says what to run: "run NUMBER SCENARIO LIMIT", or "end". We say how it went, again and again, since a line
# may be torn apart by one of Xen's own; what is said twice to us is told by its number.
done=0 result="up $(cut -d' ' -f1 /proc/uptime)"
while true; do
	printf '\nLAB ready %s %s\n' $done "$result"
	read -r -t 5 command number name limit || continue
	case $command in
	run) [ "$number" = $((done + 1)) ] || continue; run_one "$name" "$limit"; done=$number ;;
	end) poweroff -f ;;
	esac
done
