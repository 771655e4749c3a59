#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The checks of sources refuse what they are for, and nothing else: each on a small tree of its own.

Usage: test_checks.py SCRIPTS_DIR
"""
import os
import subprocess
import sys
import tempfile
import unittest

SCRIPTS = sys.argv.pop(1)


def checked(script, files):
    """Exit status and output of a check on a tree of these files."""
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)
        for command in (["git", "init", "-q", root], ["git", "-C", root, "add", "-A"]):
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        done = subprocess.run([sys.executable, os.path.join(SCRIPTS, script), root], capture_output=True, text=True,
                              check=False)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


def header(guard, text="", include=""):
    return f"#ifndef {guard}\n#define {guard}\n{include}\n{text}\n#endif\n"


class Circles(unittest.TestCase):
    def test_two_modules_that_call_each_other(self):
        status, said = checked("check_circles.py", {
            "model/a.c": "void gm_a(void)\n{\n\tgm_b();\n}\n",
            "model/b.c": "void gm_b(void)\n{\n\tgm_a();\n}\n"})
        self.assertEqual(status, 1)
        self.assertIn("model: a, b", said)
        self.assertIn("a uses b: gm_b", said)

    def test_a_variable_closes_a_circle(self):
        self.assertEqual(checked("check_circles.py", {
            "kmod/a.c": "struct gk_os *gk_os;\n\nvoid gk_a(void)\n{\n\tgk_b();\n}\n",
            "kmod/b.c": "void gk_b(void)\n{\n\tuse(gk_os);\n}\n"})[0], 1)

    def test_a_header_that_includes_its_users_header(self):
        files = {
            "backend/x/vdev.c": "void gd_vdev_open(void)\n{\n\tgd_worker_open();\n}\n",
            "backend/x/vdev.h": header("A", "void gd_vdev_open(void);"),
            "backend/x/worker.c": "void gd_worker_open(void)\n{\n}\n",
            "backend/x/worker.h": header("B", "void gd_worker_open(void);", '#include "backend/x/vdev.h"')}
        self.assertEqual(checked("check_circles.py", files)[0], 1)
        files["backend/x/worker.h"] = header("B", "void gd_worker_open(void);")
        self.assertEqual(checked("check_circles.py", files), (0, ""))

    def test_what_is_no_use(self):
        """A static function of the same name, a member, a structure, a comment and a string."""
        self.assertEqual(checked("check_circles.py", {
            "model/a.c": "void gm_a(void)\n{\n\tgm_b();\n}\n",
            "model/b.c": 'static int gm_a(int x)\n{\n\treturn x;\n}\n\nvoid gm_b(void)\n{\n\tgm_a(1);\n}\n',
            "model/c.c": "void gm_c(void)\n{\n\tgm_d();\n}\n",
            "model/d.c": '/* gm_c() */\nvoid gm_d(void)\n{\n\tstruct gm_c x;\n\n\tsay("gm_c", x.gm_c, p->gm_c);\n}\n'}),
            (0, ""))

    def test_rooms_are_apart(self):
        self.assertEqual(checked("check_circles.py", {
            "cli/a.c": "void gc_a(void)\n{\n\tgc_b();\n}\n",
            "cli/disk/b.c": "void gc_b(void)\n{\n\tgc_a();\n}\n"}), (0, ""))


class Names(unittest.TestCase):
    def test_one_guard_twice(self):
        status, said = checked("check_names.py", {
            "backend/virtio/device.h": header("GD_DEVICE_H"), "backend/xen/device.h": header("GD_DEVICE_H")})
        self.assertEqual(status, 1)
        self.assertIn("include guard GD_DEVICE_H: backend/virtio/device.h, backend/xen/device.h", said)

    def test_one_structure_twice(self):
        files = {"backend/a/a.h": header("A", "struct gd_thing {\n\tint x;\n};"),
                 "backend/b/b.c": "struct gd_thing {\n\tint y;\n};\n"}
        self.assertIn("structure gd_thing", checked("check_names.py", files)[1])
        files["backend/a/a.h"] = header("A", "struct gd_thing;")
        self.assertEqual(checked("check_names.py", files), (0, ""))

    def test_one_prefix_in_two_folders(self):
        files = {"backend/a/a.h": header("A", "int gd_queue_open(void);"),
                 "backend/b/b.h": header("B", "int gd_queue_close(void);")}
        self.assertIn("functions gd_queue_*: backend/a, backend/b", checked("check_names.py", files)[1])

    def test_programs_are_apart(self):
        self.assertEqual(checked("check_names.py", {
            "backend/a/a.h": header("A", "struct thing {\n\tint x;\n};"),
            "kmod/a.h": header("A", "struct thing {\n\tint x;\n};")}), (0, ""))

    def test_an_error_is_called_err(self):
        said = checked("check_names.py", {"backend/a/a.c": "int f(int ret)\n{\n\tint fd,\n\t\tret;\n}\n"})
        self.assertEqual((said[0], said[1].count("called err")), (1, 2))
        self.assertIn("backend/a/a.c:4: an error is called err", said[1])
        self.assertEqual(checked("check_names.py", {
            "backend/a/a.c": "/* int ret */\nint err, retry = secret(\"int ret\");\n",
            "tests/a.c": "int ret;\n"}), (0, ""))


class Sizes(unittest.TestCase):
    COMMENT = "/* Why this is so: it has to be, because of that. */\n"

    def function(self, name, lines):
        return self.COMMENT * 2 + f"void {name}(void)\n{{\n" + "\tgo();\n" * lines + "}\n\n"

    def test_a_long_function(self):
        self.assertIn("gm_x() has 61 lines, at most 60", checked("check_sizes.py", {
            "tests/a.c": self.function("gm_y", 3) + self.function("gm_x", 61)})[1])
        self.assertEqual(checked("check_sizes.py", {
            "tests/a.c": self.function("gm_y", 3) + self.function("gm_x", 60) + self.function("gm_z", 1)}), (0, ""))

    def test_long_functions_throughout(self):
        self.assertIn("the median function has 13 lines", checked("check_sizes.py", {
            "tests/a.c": "".join(self.function(f"gm_{i}", 13) for i in range(3))})[1])

    def test_a_long_file(self):
        said = checked("check_sizes.py", {"tests/a.c": "int x;\n" * 600})[1]
        self.assertIn("tests/a.c: 600 lines, at most 599", said)

    def test_few_comments_and_many(self):
        def of_lines(code):
            return checked("check_sizes.py", {"model/a.c": ("int x;\n" * code + self.COMMENT * (code < 10)) * 10})

        self.assertIn("model/: 0.0% of the lines are comments", of_lines(10)[1])
        self.assertIn("model/: 50.0%", of_lines(1)[1])
        self.assertEqual(of_lines(5), (0, ""))


class Lines(unittest.TestCase):
    def test_tabs_are_eight_columns(self):
        self.assertEqual(checked("check_lines.py", {"cli/a.c": "\t" + "x" * 112 + "\n"}), (0, ""))
        said = checked("check_lines.py", {"cli/a.c": "x\n\t" + "x" * 113 + "\n", "docs/a.txt": "x" * 200 + "\n"})
        self.assertEqual(said, (1, "  cli/a.c:2: 121 columns\n"))

    def test_rows_of_tables(self):
        row = "| " + "x" * 130 + " |\n"
        self.assertEqual(checked("check_lines.py", {"docs/a.md": row}), (0, ""))
        self.assertEqual(checked("check_lines.py", {"scripts/a.sh": row})[0], 1)


class Docs(unittest.TestCase):
    MAKEFILE = ".PHONY: help run \\\n\tlab\nhelp:\n\t@echo 'make run, lab  ...'\n"

    def of_pages(self, readme, **pages):
        files = {f"docs/{name}.md": text for name, text in pages.items()}
        return checked("check_docs.py", {"Makefile": self.MAKEFILE, "README.md": readme, **files})

    def test_pages_are_reached(self):
        self.assertEqual(self.of_pages("[a](docs/a.md)", a="[b](b.md#part), [x](https://x)", b="x"), (0, ""))
        self.assertEqual(self.of_pages("[a](docs/a.md)", a="x", b="x"),
                         (1, "  docs/b.md: no link leads here from README.md\n"))

    def test_links_lead_somewhere(self):
        self.assertEqual(self.of_pages("[a](docs/a.md)"), (1, "  docs/a.md: there is no such file, but a link to it\n"))
        self.assertEqual(self.of_pages("```\n[a](docs/a.md)\n```\n"), (0, ""))

    def test_files_exist(self):
        page = "[a](docs/a.md) `docs/a.md`, `docs/`, `docs/a.md:main`, `usr/b`, (new) `docs/c.md`\n`docs/b.md:main`"
        self.assertEqual(self.of_pages(page, a="x"), (1, "  README.md: there is no docs/b.md\n"))

    def test_make_help_names_all(self):
        makefile = self.MAKEFILE.replace("lab\n", "lab lab-x\n", 1)
        self.assertEqual(checked("check_docs.py", {"Makefile": makefile, "README.md": "x"}),
                         (1, "  Makefile: make help does not name lab-x\n"))

    def test_targets_of_make(self):
        self.assertEqual(self.of_pages("`make run`, `make lab`, `make -C kmod`, make do"), (0, ""))
        self.assertEqual(self.of_pages("```\nmake rum\n```\n"), (1, "  README.md: make has no target rum\n"))


if __name__ == "__main__":
    unittest.main()
