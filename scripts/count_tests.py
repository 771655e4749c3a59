#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Count what a `meson test` run did: each case of a TAP program, or else each program. Exit 1 if anything failed."""
import json
import re
import sys

passed = failed = skipped = 0
with open(sys.argv[1], encoding="utf-8") as log:
    for line in log:
        test = json.loads(line)
        out = test.get("stdout", "")
        ok = len(re.findall(r"^ok \d+(?!.*# SKIP)", out, re.M))
        skip = len(re.findall(r"^ok \d+.*# SKIP", out, re.M))
        bad = len(re.findall(r"^not ok \d+", out, re.M))
        if test["result"] == "SKIP":
            skip = max(skip, 1)
        elif test["result"] in ("OK", "EXPECTEDFAIL"):
            ok = ok or (0 if skip else 1)
        else:
            bad = max(bad, 1)
        passed, failed, skipped = passed + ok, failed + bad, skipped + skip
print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
sys.exit(1 if failed or not passed else 0)
