#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Refuse circles between the modules of a room.

A room is a folder of C sources; a module is a source file with the header of the same name. A module uses another one
when it names an external function or variable that the other defines, or when its header includes the other's header
(and the other's source defines something of what that header declares).
In a circle of such uses no module can be read, tested or replaced before the others. The sources are read as text, so
that nothing has to be built, and rooms for other systems (kmod, guest/os/xen) are looked at as well.

Usage: check_circles.py [ROOT]
"""
import os
import re
import sys

import csource

ROOMS = ("backend/", "cli/", "client/", "guest/", "kmod/", "model/", "nbdkit/")

STRUCTURE = re.compile(r"\b(?:struct|union|enum)\s+\w+")  # a function may share its name
INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)
# At the beginning of a line, since nothing within a function stands there.
FUNCTION = re.compile(r"^(?!static\b|typedef\b|#)[A-Za-z_][\w \t*(),\n]*?\b(\w+)\([^;{}=]*\)\s*\{", re.MULTILINE)
VARIABLE = re.compile(r"^(?!static\b|typedef\b|extern\b|return\b|#)[A-Za-z_][\w \t*()]*?"
                      r"\b(\w+)(?:\[[^\]]*\])*\s*(?:=[^=]|;)", re.MULTILINE)
STATIC = re.compile(r"^static\b[^;{=]*?\b(\w+)\s*(?:\(|\[|=|;)", re.MULTILINE)
WORD = re.compile(r"(?<![\w.])(?<!->)[A-Za-z_]\w*")


class Module:
    """A source file and its header."""

    def __init__(self):
        self.defines, self.names, self.includes, self.declares = set(), set(), set(), set()

    def add_source(self, text):
        code = STRUCTURE.sub("struct", csource.code_of(text))
        outside = re.sub(r"^\{.*?^\}", "{}", code, flags=re.DOTALL | re.MULTILINE)
        self.defines = set(FUNCTION.findall(outside.replace("{}", "{ }"))) | set(VARIABLE.findall(outside))
        self.names = set(WORD.findall(code)) - set(STATIC.findall(code)) - self.defines

    def add_header(self, text, folder, root):
        self.declares = set(WORD.findall(STRUCTURE.sub("struct", csource.code_of(text))))
        for name in INCLUDE.findall(text):
            beside = os.path.join(folder, name)
            self.includes.add(os.path.normpath(beside if os.path.exists(os.path.join(root, beside)) else name))


def rooms_read(root):
    rooms = {}
    for path in csource.listed(root, *ROOMS):
        folder, name = os.path.split(path)
        stem, kind = os.path.splitext(name)
        module = rooms.setdefault(folder, {}).setdefault(stem, Module())
        if kind == ".c":
            module.add_source(csource.read(root, path))
        else:
            module.add_header(csource.read(root, path), folder, root)
    return rooms


def uses_of(folder, modules):
    """Which modules of the room each of them uses, and by what name."""
    owner = {name: stem for stem, module in modules.items() for name in module.defines}
    uses = {stem: {} for stem in modules}
    for stem, module in modules.items():
        for name in sorted(module.names & owner.keys()):
            uses[stem].setdefault(owner[name], name)
        for path in sorted(module.includes):
            other = os.path.splitext(os.path.basename(path))[0]
            own = other in modules and modules[other].defines & modules[other].declares
            if os.path.dirname(path) == folder and other != stem and module.defines and own:
                uses[stem].setdefault(other, os.path.basename(path))
    return uses


def reached(uses, start):
    seen, todo = set(), list(uses[start])
    while todo:
        stem = todo.pop()
        if stem not in seen:
            seen.add(stem)
            todo += uses[stem]
    return seen


def circles(uses):
    """Sets of modules each of which uses, by way of others, all of the set."""
    reach = {stem: reached(uses, stem) for stem in uses}
    found = {frozenset(other for other in reach[stem] if stem in reach[other]) for stem in uses if stem in reach[stem]}
    return sorted(sorted(circle) for circle in found)


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    failures = 0
    for folder, modules in sorted(rooms_read(root).items()):
        uses = uses_of(folder, modules)
        for circle in circles(uses):
            failures += 1
            print(f"  {folder}: {', '.join(circle)}")
            for stem in circle:
                for other in sorted(set(uses[stem]) & set(circle) - {stem}):
                    print(f"    {stem} uses {other}: {uses[stem][other]}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
