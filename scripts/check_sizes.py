#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measure the rooms: lines of functions and files, and how much of a room is comments.

Refused are functions and files over their bounds, a room whose median function is longer than a dozen lines, and
one with fewer or more comments than help a reader (tests are not asked for any). A comment behind code on the same
line is not counted. -v shows the measures.

Usage: check_sizes.py [-v] [ROOT]
"""
import re
import statistics
import sys

import csource

ROOMS = ("backend/", "cli/", "client/", "guest/", "include/", "kmod/", "model/", "nbdkit/", "tests/")
FUNCTION_MEDIAN = 12
FUNCTION_MOST = 60
FILE_MOST = 599
COMMENTS = (0.12, 0.20)
UNASKED = ("include/", "tests/")  # of comments: layouts explain themselves field by field, tests by their names

BODY = re.compile(r"^([a-zA-Z_][^;{}]*?\b(\w+)\([^;{}]*\))\s*\n\{\n(.*?)^\}", re.DOTALL | re.MULTILINE)


def functions(code):
    """Name and lines of the body, without its braces, of each function."""
    return [(match.group(2), match.group(3).count("\n")) for match in BODY.finditer(code)]


def comment_lines(text, code):
    """Lines of comments, and lines that are not blank."""
    comments = filled = 0
    for line, rest in zip(text.split("\n"), code.split("\n")):
        if line.strip() and "SPDX" not in line:
            filled += 1
            comments += not rest.strip()
    return comments, filled


class Room:
    """What was measured of one room."""

    def __init__(self, name):
        self.name, self.lines, self.comments, self.filled = name, [], 0, 0
        self.faults = []

    def add(self, path, text):
        code = csource.code_of(text)
        comments, filled = comment_lines(text, code)
        self.comments += comments
        self.filled += filled
        if text.count("\n") > FILE_MOST:
            self.faults.append(f"{path}: {text.count(chr(10))} lines, at most {FILE_MOST}")
        for name, lines in functions(code):
            self.lines.append(lines)
            if lines > FUNCTION_MOST:
                self.faults.append(f"{path}: {name}() has {lines} lines, at most {FUNCTION_MOST}")

    def share(self):
        return self.comments / self.filled if self.filled else 0

    def median(self):
        return statistics.median(self.lines or [0])

    def judge(self):
        if self.median() > FUNCTION_MEDIAN:
            self.faults.append(f"{self.name}: the median function has {self.median()} lines, at most {FUNCTION_MEDIAN}")
        if self.filled and self.name not in UNASKED and not COMMENTS[0] <= self.share() <= COMMENTS[1]:
            self.faults.append(f"{self.name}: {self.share():.1%} of the lines are comments, wanted "
                               f"{COMMENTS[0]:.0%} to {COMMENTS[1]:.0%}")
        return self.faults

    def shown(self):
        return (f"  {self.name:9} functions: {len(self.lines):5}, median {self.median():4}, longest "
                f"{max(self.lines or [0]):3}; comments {self.share():.1%}")


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "-v"]
    root = arguments[0] if arguments else "."
    rooms = {name: Room(name) for name in ROOMS}
    for path in csource.listed(root, *ROOMS):
        rooms[path[:path.index("/") + 1]].add(path, csource.read(root, path))
    faults = [fault for room in rooms.values() for fault in room.judge()]
    if "-v" in sys.argv:
        for room in rooms.values():
            print(room.shown())
    for fault in faults:
        print(f"  {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
