#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Documents name what exists.

Every page of docs/ is reached from README.md by links, every link to a file of ours leads somewhere, every file or
folder in backquotes exists (but for lines that call it new), every target of make that a page names is one of the
Makefile's, and `make help` names all of these.

Usage: check_docs.py [ROOT]
"""
import pathlib
import re
import sys

TOP = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()


def links(page):
    """The files that a page links to, without links to other sites and to places within the page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:|#", target):
            yield (page.parent / target.split("#")[0]).resolve()


def files_unknown(page):
    """Paths in backquotes, below one of our folders, that do not exist: `FILE`, `FOLDER/` or `FILE:FUNCTION`.

    build/ is made, and not one of them.
    """
    for line in page.read_text(encoding="utf-8").splitlines():
        for path in re.findall(r"`([\w.-]+/[\w./-]+)(?::\w+)?`", line):
            ours = not path.startswith("build/") and (TOP / path.split("/")[0]).is_dir()
            if ours and not (TOP / path).exists() and "(new)" not in line:
                yield path


def targets_unknown(page, known):
    """Targets that a page names, in code, which make does not have; `make -C kmod` and the like are other Makefiles."""
    named = re.findall(r"(?:`|^)make ([a-z][a-z0-9-]*)", page.read_text(encoding="utf-8"), re.M)
    return sorted(set(named) - known)


def targets_untold(makefile, known):
    """Targets that the text of `make help` does not name."""
    told = "\n".join(re.findall(r"@echo '(.*)'", makefile))
    return sorted(name for name in known - {"help"} if not re.search(rf"(?:make |, |; ){name}\b(?!-)", told))


def main():
    makefile = (TOP / "Makefile").read_text(encoding="utf-8")
    known = set(re.search(r"^\.PHONY:((?:.*\\\n)*.*)$", makefile, re.M).group(1).replace("\\\n", " ").split())
    wrong = [f"Makefile: make help does not name {name}" for name in targets_untold(makefile, known)]
    seen, ahead = set(), [TOP / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in seen:
            continue
        seen.add(page)
        if not page.exists():
            wrong.append(f"{page.relative_to(TOP)}: there is no such file, but a link to it")
        elif page.suffix == ".md":
            ahead += links(page)
            here = page.relative_to(TOP)
            wrong += [f"{here}: there is no {path}" for path in files_unknown(page)]
            wrong += [f"{here}: make has no target {name}" for name in targets_unknown(page, known)]
    unseen = set((TOP / "docs").glob("*.md")) - seen
    wrong += [f"{page.relative_to(TOP)}: no link leads here from README.md" for page in sorted(unseen)]
    print("\n".join("  " + line for line in wrong), end="\n" if wrong else "")
    sys.exit(bool(wrong))


main()
