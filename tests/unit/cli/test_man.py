#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The options that the programs print, and those in their man pages, are the same, and so are the words for values.

Usage: test_man.py MAN_DIRECTORY GRANTIOD GRANTIO
"""
import re
import subprocess
import sys


def helped(program, *words):
    return subprocess.run([program, *words, "--help"], check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout


def printed_options(text):
    """{name: value's name in lower case, or ""} of the lines that begin with an option."""
    return {name: value.lower() for name, value in re.findall(r"^  --([a-z-]+)(?: ([^ ]+))?(?:  | *$|$)", text, re.M)}


def printed_commands(program, *words):
    """{"disk attach": its options, ...} of a program and all commands below it; the program's own is ""."""
    text = helped(program, *words)
    found = {" ".join(words): printed_options(text)}
    if "\nCommands:\n" in text:
        for name in re.findall(r"^  ([a-z]+) ", text.split("\nCommands:\n")[1], re.M):
            found.update(printed_commands(program, *words, name))
    return found


def page_options(path, sections):
    """The same of a page: {subsection, or "": options}. What is no option's own line (.It Fl) is prose."""
    found, section = {}, ""
    for line in open(path, encoding="utf-8"):
        if line.startswith((".Ss ", ".Sh ")):
            section = line[4:].strip() if line.startswith(".Ss ") and sections else ""
        option = re.match(r"\.It Fl -([a-z-]+)(?: (.*))?$", line)
        if option:
            value = re.sub(r" Ns | Ns$|Ar |Cm ", "", option.group(2) or "").strip()
            options = found.setdefault(section, {})
            if option.group(1) in options:
                sys.exit(f"not ok: {path}: {section} --{option.group(1)}: twice")
            options[option.group(1)] = value
    return found


def synopsis_options(path):
    """The options in a page's SYNOPSIS."""
    text = open(path, encoding="utf-8").read().split(".Sh SYNOPSIS\n")[1].split("\n.Sh ")[0]
    return set(re.findall(r"^\.(?:Op )?Fl -([a-z-]+)", text, re.M)) | set(re.findall(r"\| -([a-z-]+)", text))


def sockets_outside(path, allowed):
    """Sockets of NBD servers in a page's examples that the example of nbd-allow would refuse."""
    found = re.findall(r"(?:socket=|-k |-U )(/[^ '`&\n]+)", open(path, encoding="utf-8").read())
    return [f"{path}: {socket} is not below {allowed}" for socket in found if not socket.startswith(allowed + "/")]


def compare(program, page, printed):
    wrong = []
    written = page_options(page, len(printed) > 1)
    for command in sorted(set(printed) | set(written)):
        here, there = printed.get(command, {}), written.get(command, {})
        if list(here) == ["help"] and command not in written:
            continue  # `grantio disk`: nothing but the list of its commands
        for name in sorted(set(here) | set(there)):
            where = f"{program} {command} --{name}".replace("  ", " ")
            if name not in there:
                wrong.append(f"{where}: not in {page}")
            elif name not in here:
                wrong.append(f"{where}: in {page}, but not in --help")
            elif here[name] != there[name]:
                wrong.append(f"{where}: its value is '{here[name]}' in --help and '{there[name]}' in {page}")
    count = sum(map(len, printed.values()))
    return wrong if count > 5 else wrong + [f"{program}: only {count} options found: --help has another form"]


def main():
    pages, grantiod, grantio = sys.argv[1:]
    options = printed_options(helped(grantiod))
    wrong = compare("grantiod", f"{pages}/grantiod.8", {"": options})
    listed = synopsis_options(f"{pages}/grantiod.8")
    wrong += [f"grantiod --{name}: in one of SYNOPSIS and --help only" for name in sorted(listed ^ set(options))]
    settings = open(f"{pages}/../../packaging/debian/grantiod.conf", encoding="utf-8").read()
    allowed = re.search(r"^#nbd-allow = unix:(.*)$", settings, re.M).group(1)
    for page in (f"{pages}/grantiod.8", f"{pages}/grantio.1", f"{pages}/../../README.md"):
        wrong += sockets_outside(page, allowed)
    wrong += compare("grantio", f"{pages}/grantio.1", printed_commands(grantio))
    print("\n".join(wrong) or "ok")
    sys.exit(bool(wrong))


main()
