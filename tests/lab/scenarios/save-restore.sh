# SPDX-License-Identifier: MIT
# Labs: x86
# Limit: 900
# A guest in the middle of I/O is saved and goes on (xl save -c); then it is saved, and restored: it has its disk, the
# same one, loses no request, and its kernel has nothing to complain of. What is at the port that its event channel had
# is not touched.
scenario() {
	local a
	a=$(image a.raw 8)
	grantiod_start || return 1
	guest_create g1 save "memory=128" "disk=['$DISK_SPEC,access=rw,vdev=xvda,target=$a']" || return 1
	goes_on || return 1
	xl save -c g1 "$RUN/saved" >"$RUN/save.log" 2>&1 || { fail "xl save -c: $(said save)"; return 1; }
	rm "$RUN/saved"
	goes_on || { fail "its disk does not go on after a save that it stayed from"; return 1; }
	xl save g1 "$RUN/saved" >"$RUN/save.log" 2>&1 || { fail "xl save: $(said save)"; return 1; }
	wait_until 20 no_domains || { fail "it is saved, and there"; return 1; }
	say "$(du -h "$RUN/saved" | cut -f1) saved"
	xl restore "$RUN/saved" >"$RUN/restore.log" 2>&1 || { fail "xl restore: $(said restore)"; return 1; }
	rm "$RUN/saved"
	goes_on || {
		xenstore-ls /local/domain/0/backend/virtio_disk | grep -e state -e base -e error >"$RUN/keys"
		fail "its disk does not go on after the restore: $(tr '\n' ';' <"$RUN/keys")"
		return 1
	}
	printf '%-512s' enough | dd of="$a" bs=512 seek=$((8 * 2048 - 1)) conv=notrunc,fsync 2>/dev/null
	guest_finish g1 60
}
said() { grep -i -e error -e fail "$RUN/$1.log" | head -n 5 | tr '\n' ';'; } # save or restore: what xl complained of
rounds() { grep -c 'GUEST round' "$GUEST_LOG/guest-g1.log" || :; }
# It has done two more, of which one began now.
goes_on() { more=$(($(rounds) + 2)); wait_until 150 enough_rounds || { guest_tail g1; return 1; }; }
enough_rounds() { [ "$(rounds)" -ge "$more" ]; }
