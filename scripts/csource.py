# SPDX-License-Identifier: MIT
"""What the checks of C sources share: they read sources as text, so that nothing has to be built for them."""
import os
import re
import subprocess

NOISE = re.compile(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)


def listed(root, *folders):
    """The C files in git below these folders ("backend/"), of all folders without any."""
    found = subprocess.run(["git", "-C", root, "ls-files", "*.c", "*.h"], capture_output=True, text=True, check=True)
    return [path for path in found.stdout.split() if not folders or path.startswith(folders)]


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


def code_of(text):
    """The text without comments and without the contents of strings; line numbers stay."""
    def blank(match):
        noise = match.group()
        return " " + "\n" * noise.count("\n") if noise.startswith("/*") else noise[0] * 2
    return NOISE.sub(blank, text)
