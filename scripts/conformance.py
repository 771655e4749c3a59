#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every name in docs/conformance.md must exist: `FILE:FUNCTION` in that file, and each test below tests/."""
import pathlib
import re
import sys

top = pathlib.Path(__file__).resolve().parent.parent


def rows():
    """The cells of each requirement: what keeps it, and its tests."""
    for number, line in enumerate((top / "docs/conformance.md").read_text().splitlines(), 1):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 4 and cells[0][:1].isdigit():
            yield number, cells[2], cells[3]


def defined(path, name):
    file = top / path
    return file.is_file() and re.search(rf"\b{name}\(", file.read_text()) is not None


def main():
    tests = "\n".join(path.read_text() for path in sorted((top / "tests").rglob("test_*.c")))
    wrong, count = [], 0
    for number, kept, shown in rows():
        count += 1
        places = re.findall(r"`([\w./]+):(\w+)`", kept)
        names = re.findall(r"`(\w+)`", shown)
        if not places or not names:
            wrong.append(f"docs/conformance.md:{number}: a requirement needs a place and a test")
        missing = [f"no {name} in {path}" for path, name in places if not defined(path, name)]
        missing += [f"no test {name}" for name in names if not re.search(rf"\b{name}\b", tests)]
        wrong += [f"docs/conformance.md:{number}: {what}" for what in missing]
    if count < 50:
        wrong.append(f"docs/conformance.md: only {count} requirements were found")
    print("\n".join(wrong), end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
