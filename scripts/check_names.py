#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Refuse one name for two things, and two names for an error.

In one program no two headers have the same include guard (the second would be skipped without a word), no structure
that a header defines is defined a second time, and no two folders declare functions of the same prefix and noun
(gd_queue_open in one folder and gd_queue_close in another). Rooms that are linked together are one program.
A variable with 0 or -errno is `err` in all of them, and none is `ret`.

Usage: check_names.py [ROOT]
"""
import collections
import os
import re
import sys

import csource

PROGRAMS = {
    "grantiod": ("backend/", "include/"),
    "guest programs and tools": ("cli/", "client/", "guest/", "include/", "model/", "nbdkit/"),
    "grantio.ko": ("guest/dma/", "guest/grant/", "guest/virtio/msg_bus", "guest/virtio/msg_driver", "include/",
                   "kmod/"),
}
# include/ declares what other folders define; and of a system's folders for each processor one program has one.
INTERFACE = "include/"
ALTERNATIVE = "/arm64/"

GUARD = re.compile(r"^#ifndef (\w+)\n#define \1$", re.MULTILINE)
STRUCTURE = re.compile(r"^(?:struct|union|enum) (\w+) \{", re.MULTILINE)
# At the beginning of a line: a declaration, and no call.
FUNCTION = re.compile(r"^(?!static\b|typedef\b|#)[A-Za-z_][\w \t*(),]*?\b([a-z]+_[a-z0-9]+)_\w+\(", re.MULTILINE)
# A declaration: `int ret`, `int fd, ret`, or a parameter.
RET = re.compile(r"\b(?:int|long|ssize_t)\b[^;(){}]*\bret\b")


def doubles(where):
    return {name: sorted(places) for name, places in where.items() if len(places) > 1}


def folder_of(path):
    """The folder, but that of all of the small guest's system for its parts."""
    folder = os.path.dirname(path)
    return "guest/os" if folder.startswith("guest/os/") else folder


def names_of(root, folders):
    guards, structures, nouns = (collections.defaultdict(set) for _ in range(3))
    in_headers = set()
    for path in csource.listed(root, *folders):
        if ALTERNATIVE in path:
            continue
        code = csource.code_of(csource.read(root, path))
        for name in STRUCTURE.findall(code):
            structures[name].add(path)
            if path.endswith(".h"):
                in_headers.add(name)
        if path.endswith(".h"):
            for name in GUARD.findall(code):
                guards[name].add(path)
            for name in () if path.startswith(INTERFACE) else FUNCTION.findall(code):
                nouns[name + "_*"].add(folder_of(path))
    shared = {name: places for name, places in structures.items() if name in in_headers}
    return {"include guard": guards, "structure": shared, "functions": nouns}


def rets_of(root):
    """Where a variable is called `ret`, as PATH:LINE."""
    folders = {folder for each in PROGRAMS.values() for folder in each}
    for path in csource.listed(root, *sorted(folders)):
        code = csource.code_of(csource.read(root, path))
        for found in RET.finditer(code):
            yield f"{path}:{code.count(chr(10), 0, found.end()) + 1}"


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    failures = 0
    for program, folders in PROGRAMS.items():
        for kind, where in names_of(root, folders).items():
            for name, places in sorted(doubles(where).items()):
                failures += 1
                print(f"  {program}: {kind} {name}: {', '.join(places)}")
    for place in rets_of(root):
        failures += 1
        print(f"  {place}: an error is called err, and other results by what they are")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
