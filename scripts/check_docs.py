#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every page of docs/ is reached from README.md by links, and every link to a file of ours leads somewhere."""
import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent


def links(page):
    """The files that a page links to, without links to other sites and to places within the page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:|#", target):
            yield (page.parent / target.split("#")[0]).resolve()


def main():
    wrong, seen, ahead = [], set(), [TOP / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in seen:
            continue
        seen.add(page)
        if not page.exists():
            wrong.append(f"{page.relative_to(TOP)}: there is no such file, but a link to it")
        elif page.suffix == ".md":
            ahead += links(page)
    unseen = set((TOP / "docs").glob("*.md")) - seen
    wrong += [f"{page.relative_to(TOP)}: no link leads here from README.md" for page in sorted(unseen)]
    print("\n".join("  " + line for line in wrong), end="\n" if wrong else "")
    sys.exit(bool(wrong))


main()
