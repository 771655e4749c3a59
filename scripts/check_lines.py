#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""No line of a source, a script or a document is longer than 120 columns, with a tab every eight.

Only a row of a table in Markdown may be: it cannot be broken. C is clang-format's, but it leaves comments as they are.

Usage: check_lines.py [ROOT]
"""
import os
import re
import subprocess
import sys

MOST = 120
TEXTS = re.compile(r"\.(c|h|S|sh|py|md|md\.in)$|^Makefile$|^\.ci/run$|^packaging/debian/grantiod\.(conf|service)$|"
                   r"^tests/lab/(dom0|guest)/[a-z-]+$")


def main():
    wrong, root = 0, sys.argv[1] if len(sys.argv) > 1 else "."
    files = subprocess.run(["git", "-C", root, "ls-files"], check=True, stdout=subprocess.PIPE, text=True).stdout
    for path in files.splitlines():
        if not TEXTS.search(path) or not os.path.exists(os.path.join(root, path)):
            continue
        with open(os.path.join(root, path), encoding="utf-8") as text:
            for number, line in enumerate(text, 1):
                columns = len(line.rstrip("\n").expandtabs(8))
                if columns > MOST and not (line.startswith("|") and ".md" in path):
                    print(f"  {path}:{number}: {columns} columns")
                    wrong += 1
    sys.exit(bool(wrong))


main()
