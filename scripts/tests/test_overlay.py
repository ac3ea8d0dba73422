#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of overlay.py and series.py on a tree in miniature: the files that the edits name, and little else."""

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Dict
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import overlay  # noqa: E402
import series  # noqa: E402
import tree_edits  # noqa: E402
from hostlib import Failure  # noqa: E402
from tree_edits import Edit  # noqa: E402

MAKEFILE = "VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\n"


def write(root: Path, path: str, text: str) -> Path:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    return target


def small_tree(root: Path) -> None:
    """A tree whose files hold what the edits and the interface checks look for."""
    texts = {"Makefile": MAKEFILE, "Kbuild": "", "Documentation/dev-tools/kcov.rst": "the tree's own\n"}
    for path, text in [(e.path, e.find) for e in tree_edits.EDITS] + [(i.path, i.text) for i in tree_edits.INTERFACES]:
        if text not in texts.setdefault(path, "# a file of the tree\n"):
            texts[path] += f"{text.strip(chr(10))}\n"
    for path, text in texts.items():
        write(root, path, text)


def small_repository(root: Path) -> None:
    write(root, "Kconfig", "choice\nendchoice\n")
    write(root, "kcov/Makefile", "obj-y += kcov.o\n")
    write(root, "kcov/hooks/mod.rs", "// hooks\n")
    write(root, "tools/testing/selftests/kcov/Makefile", "TEST_GEN_PROGS := kcov\n")
    write(root, "tools/testing/selftests/kcov/run.sh", "#!/bin/sh\n").chmod(0o755)
    write(root, "Documentation/dev-tools/kcov.rst", "ours\n")
    # Products of builds, which stay at home.
    write(root, "kcov/kcov.o", "product")
    write(root, "tools/kcov/target/debug/x", "product")
    (root / "tools/testing/selftests/kcov/kcov").write_bytes(b"\x7fELF")


def without_git_settings(home: Path) -> Dict[str, str]:
    """The environment without the person's own git configuration, and without the repository of a hook."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {**environment, "HOME": str(home), "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


class TreeTest(unittest.TestCase):
    """A tree and a repository in miniature, and what tests do with them."""

    use_git = True

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = Path(scratch.name)
        own = mock.patch.dict(os.environ, without_git_settings(self.scratch), clear=True)
        own.start()
        self.addCleanup(own.stop)
        self.tree, self.top = self.scratch / "linux", self.scratch / "repository"
        small_tree(self.tree)
        small_repository(self.top)
        if self.use_git:
            self.git("init", "-q")
            self.commit()

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=A Tester", "-c", "user.email=tester@example.org"]
        result = subprocess.run(["git", *identity, *arguments], cwd=self.tree, stdout=subprocess.PIPE, check=True)
        return result.stdout.decode()

    def commit(self) -> None:
        self.git("add", "-A", "-f")
        self.git("commit", "-q", "-m", "x")

    def content(self) -> dict:
        return {
            path.relative_to(self.tree).as_posix(): path.read_bytes()
            for path in self.tree.rglob("*")
            if path.is_file() and ".git" not in path.relative_to(self.tree).parts
        }

    def install(self, **options: bool) -> dict:
        return overlay.install(self.tree, top=self.top, **options)[1]

    def refused(self, *words: str, **options: bool) -> None:
        """An attempt to install names WORDS and writes nothing."""
        before = self.content()
        with self.assertRaises(Failure) as raised:
            self.install(**options)
        for word in words:
            self.assertIn(word, str(raised.exception))
        self.assertEqual(before, self.content())


class OverlayTest(TreeTest):
    """What has to hold in every tree."""

    def test_round_trip(self) -> None:
        before = self.content()
        directories = {path for path in self.tree.rglob("*") if path.is_dir() and ".git" not in path.parts}
        done = self.install()
        self.assertIn("kernel/kcov/hooks/mod.rs", done["added"])
        self.assertIn("lib/Kconfig.kcov", done["added"])
        self.assertIn("kernel/Makefile", done["edited"])
        self.assertIn("obj-$(CONFIG_KCOV_RUST) += kcov/\n", (self.tree / "kernel/Makefile").read_text())
        self.assertIn("TARGETS += kcov\n", (self.tree / "tools/testing/selftests/Makefile").read_text())
        self.assertEqual("ours\n", (self.tree / "Documentation/dev-tools/kcov.rst").read_text())
        self.assertTrue(overlay.is_executable(self.tree / "tools/testing/selftests/kcov/run.sh"))
        self.assertFalse((self.tree / "kernel/kcov/kcov.o").exists())
        self.assertFalse((self.tree / "tools/kcov").exists())
        self.assertFalse((self.tree / "tools/testing/selftests/kcov/kcov").exists())
        # An edit whose file this repository does not have is left out.
        self.assertNotIn("pub mod kcov;", (self.tree / "rust/kernel/lib.rs").read_text())
        # What a build in the tree leaves is cleaned up as well.
        write(self.tree, "kernel/kcov/kcov.o", "")
        overlay.uninstall(self.tree)
        self.assertEqual(before, self.content())
        after = {path for path in self.tree.rglob("*") if path.is_dir() and ".git" not in path.parts}
        self.assertEqual(directories, after)
        if self.use_git:
            self.assertEqual("", self.git("status", "--porcelain"))

    def test_update_touches_only_changes(self) -> None:
        self.install()
        for path in self.content():
            os.utime(self.tree / path, (1, 1))
        write(self.top, "kcov/Makefile", "obj-y += kcov.o exports.o\n")
        write(self.top, "kcov/new.rs", "// new\n")
        (self.top / "kcov/hooks/mod.rs").unlink()
        done = self.install()
        self.assertEqual(["kernel/kcov/Makefile"], done["updated"])
        self.assertEqual(["kernel/kcov/new.rs"], done["added"])
        self.assertEqual(["kernel/kcov/hooks/mod.rs"], done["removed"])
        self.assertFalse((self.tree / "kernel/kcov/hooks").exists())
        touched = [path for path in self.content() if (self.tree / path).stat().st_mtime != 1]
        self.assertEqual({"kernel/kcov/Makefile", "kernel/kcov/new.rs"}, {p for p in touched if overlay.RECORD not in p})
        self.assertEqual({"added": [], "edited": [], "updated": [], "removed": []}, self.install())

    def test_edit_no_longer_wanted(self) -> None:
        self.install()
        (self.top / "tools/testing/selftests/kcov/Makefile").unlink()
        self.assertIn("tools/testing/selftests/Makefile", self.install()["removed"])
        self.assertNotIn("TARGETS += kcov\n", (self.tree / "tools/testing/selftests/Makefile").read_text())

    def test_old_tree(self) -> None:
        write(self.tree, "Makefile", MAKEFILE.replace("= 3", "= 2"))
        self.refused("is Linux 7.2.4", "needs 7.3 or later")

    def test_no_tree(self) -> None:
        (self.tree / "Kbuild").unlink()
        self.refused("is no Linux source tree")

    def test_missing_interface(self) -> None:
        write(self.tree, "kernel/fork.c", "nothing\n")
        if self.use_git:
            self.commit()
        self.refused("kcov_task_init()", "kernel/fork.c")

    def test_missing_place(self) -> None:
        write(self.tree, "kernel/Makefile", "nothing\n")
        if self.use_git:
            self.commit()
        self.refused("kernel/Makefile", "obj-$(CONFIG_KCOV) += kcov.o")

    def test_ambiguous_place(self) -> None:
        text = (self.tree / "kernel/Makefile").read_text()
        write(self.tree, "kernel/Makefile", text + text)
        if self.use_git:
            self.commit()
        self.refused("kernel/Makefile", "exactly once")

    def test_incomplete_repository(self) -> None:
        (self.top / "Kconfig").unlink()
        self.refused("incomplete", "Kconfig")

    def test_changed_since(self) -> None:
        self.install()
        write(self.tree, "kernel/kcov/Makefile", "mine\n")
        self.refused("kernel/kcov/Makefile", "--force")
        with self.assertRaises(Failure) as raised:
            overlay.uninstall(self.tree)
        self.assertIn("kernel/kcov/Makefile", str(raised.exception))
        self.assertEqual(["kernel/kcov/Makefile"], self.install(force=True)["updated"])
        write(self.tree, "kernel/kcov/Makefile", "mine\n")
        overlay.uninstall(self.tree, force=True)
        self.assertFalse((self.tree / "kernel/kcov").exists())

    def test_interrupted(self) -> None:
        before = self.content()
        real, calls = overlay.write_if_changed, []

        def failing(path: Path, data: bytes) -> bool:
            calls.append(path)
            if len(calls) == 5:
                raise OSError("disk full")
            return real(path, data)

        with mock.patch.object(overlay, "write_if_changed", failing), self.assertRaises(OSError):
            self.install()
        self.assertNotEqual(before, self.content())
        self.install()
        overlay.uninstall(self.tree)
        self.assertEqual(before, self.content())


class OverlayWithoutGitTest(OverlayTest):
    use_git = False


class OverlayInGitTest(TreeTest):
    """What only a tree with a history can show."""

    def test_local_changes(self) -> None:
        path = self.tree / "kernel/Makefile"
        path.write_text(path.read_text() + "# mine\n")
        self.refused("local changes", "kernel/Makefile")
        self.git("checkout", "-q", ".")
        write(self.tree, "kernel/kcov/Makefile", "mine\n")
        self.refused("local changes", "kernel/kcov/Makefile")

    def test_run_by_a_hook(self) -> None:
        """git ties its hooks to their repository, which is not the tree."""
        foreign = self.scratch / "foreign"
        foreign.mkdir()
        subprocess.run(["git", "init", "-q"], cwd=foreign, check=True)
        before = sorted(foreign.rglob("*"))
        ties = {"GIT_DIR": str(foreign / ".git"), "GIT_WORK_TREE": str(foreign), "GIT_INDEX_FILE": str(foreign / "index")}
        with mock.patch.dict(os.environ, ties):
            self.install()
            self.assertTrue(overlay.Tree(self.tree).record_path.is_relative_to(self.tree))
            overlay.uninstall(self.tree)
        self.assertEqual("", self.git("status", "--porcelain"))
        self.assertEqual(before, sorted(foreign.rglob("*")))

    def test_tree_moves_on(self) -> None:
        self.install()
        self.git("checkout", "-q", ".")
        path = self.tree / "kernel/Makefile"
        path.write_text(path.read_text() + "# upstream went on\n")
        self.git("commit", "-q", "-m", "y", "kernel/Makefile")
        self.assertIn("kernel/Makefile", self.install()["edited"])
        self.assertIn("# upstream went on", path.read_text())
        overlay.uninstall(self.tree)
        self.assertEqual("", self.git("status", "--porcelain"))

    def test_committed_overlay(self) -> None:
        self.install()
        self.commit()
        self.assertEqual({"added": [], "edited": [], "updated": [], "removed": []}, self.install())
        overlay.uninstall(self.tree)
        self.assertEqual("", self.git("status", "--porcelain"))
        self.assertTrue((self.tree / "kernel/kcov/Makefile").exists())


class SeriesTest(TreeTest):
    """The series gives what install gives, and leaves the tree alone."""

    def write_series(self) -> list:
        out = self.scratch / "out"
        with contextlib.redirect_stdout(io.StringIO()):
            series.write(self.tree, out, self.top)
        return sorted(out.glob("*.patch"))

    def test_applies(self) -> None:
        variables = {"GIT_AUTHOR_NAME": "A Tester", "GIT_AUTHOR_EMAIL": "tester@example.org"}
        before = self.content()
        with mock.patch.dict(os.environ, variables):
            mails = self.write_series()
        self.assertEqual(before, self.content())
        self.assertEqual("", self.git("status", "--porcelain"))
        self.assertGreater(len(mails), 2)
        for mail in mails:
            self.assertIn("Signed-off-by: A Tester <tester@example.org>", mail.read_text())
        self.install()
        wanted = self.content()
        overlay.uninstall(self.tree)
        self.git("am", "-q", *map(str, mails))
        self.assertEqual(wanted, self.content())

    def test_wants_an_author(self) -> None:
        with mock.patch.dict(os.environ, {"GIT_AUTHOR_NAME": "", "GIT_AUTHOR_EMAIL": ""}), mock.patch.object(
            series, "git_output", return_value=None
        ), self.assertRaises(Failure) as raised:
            self.write_series()
        self.assertIn("user.name", str(raised.exception))


class EditTest(unittest.TestCase):
    edit = Edit("path", "b\n", "b\nc\n", "why")

    def test_apply(self) -> None:
        self.assertEqual("a\nb\nc\n", overlay.apply_edit("a\nb\n", self.edit))
        self.assertEqual("a\nb\nc\n", overlay.apply_edit("a\nb\nc\n", self.edit))
        for text in ("a\n", "b\nb\n"):
            with self.assertRaises(LookupError):
                overlay.apply_edit(text, self.edit)

    def test_data(self) -> None:
        names = [patch.name for patch in tree_edits.PATCHES]
        for edit in tree_edits.EDITS:
            self.assertIn(overlay.patch_of(edit.path, edit.patch), names)
            self.assertNotEqual(edit.find, edit.replace)


if __name__ == "__main__":
    unittest.main()
