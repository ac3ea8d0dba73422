# SPDX-License-Identifier: GPL-2.0
"""Tests of harness/series.py on a tree and a repository in miniature, and of the form of the files in patches/."""

import contextlib
import io
import os
import tempfile
import unittest
from pathlib import Path
from typing import List
from unittest import mock

from harness import kernel, overlay, patches, series
from harness.checklib import project_files
from harness.hostlib import TOP, Failure

from .miniature import NOTHING_DONE, TreeTest


class BuiltTreeTest(unittest.TestCase):
    """The tree that is unpacked here gets links; a person's tree gets none."""

    def test_links(self) -> None:
        installed = mock.Mock(return_value=(mock.Mock(files={}), NOTHING_DONE))
        with tempfile.TemporaryDirectory() as place, mock.patch.object(kernel, "BUILD", Path(place)), mock.patch.object(
            kernel, "unpack"
        ), mock.patch.object(kernel.overlay, "install", installed):
            for named, link in (("", True), (f"{place}/linux", False)):
                with self.subTest(named), mock.patch.dict(os.environ, KERNEL=named):
                    tree = kernel.prepare_tree()
                    installed.assert_called_with(tree, link=link)
                    # Another series of Linux has a tree of its own here.
                    self.assertEqual(Path(place) / "linux-7.2", kernel.prepare_tree("7.2"))
                    installed.assert_called_with(Path(place) / "linux-7.2", link=True)


class SeriesTest(TreeTest):
    """The series gives the same files as install, and does not change the tree."""

    author = {"GIT_AUTHOR_NAME": "A Tester", "GIT_AUTHOR_EMAIL": "tester@example.org"}

    def write_series(self) -> List[Path]:
        out = self.scratch / "out"
        with contextlib.redirect_stdout(io.StringIO()):
            series.write(self.tree, out, self.top)
        return sorted(out.glob("*.patch"))

    def test_applies(self) -> None:
        before = self.content()
        with mock.patch.dict(os.environ, self.author):
            mails = self.write_series()
        self.assertEqual(before, self.content())
        self.assertEqual("", self.git("status", "--porcelain"))
        self.assertEqual(["0001-kcov-one.patch", "0002-kcov-two.patch"], [mail.name for mail in mails])
        for mail in mails:
            self.assertIn("\n\nA reason.\n\nSigned-off-by: A Tester <tester@example.org>\n---\n", mail.read_text())
            self.assertNotIn("Adds:", mail.read_text())
        self.install()
        wanted = self.content()
        overlay.uninstall(self.tree)
        self.git("am", "-q", *map(str, mails))
        self.assertEqual(wanted, self.content())
        with mock.patch.dict(os.environ, self.author), self.assertRaisesRegex(Failure, "carries all of the overlay"):
            self.write_series()

    def test_of_a_tree_that_has_the_overlay(self) -> None:
        with mock.patch.dict(os.environ, self.author):
            wanted = [mail.read_text().split("\n", 1)[1] for mail in self.write_series()]
            for link in (False, True):
                self.install(link=link)
                before = self.content()
                mails = self.write_series()
                self.assertEqual(before, self.content())
                dates = [mail.read_text().split("\n", 1)[1] for mail in mails]
                self.assertEqual([text.split("\nDate:")[0] for text in wanted], [text.split("\nDate:")[0] for text in dates])
                self.assertEqual([text.split("\n---\n")[1] for text in wanted], [text.split("\n---\n")[1] for text in dates])

    def test_wants_an_author(self) -> None:
        with mock.patch.dict(os.environ, {"GIT_AUTHOR_NAME": "", "GIT_AUTHOR_EMAIL": ""}), mock.patch.object(
            series, "git_output", return_value=None
        ), self.assertRaises(Failure) as raised:
            series.identity(self.tree)
        self.assertIn("user.name", str(raised.exception))


class PatchesTest(unittest.TestCase):
    """The patches of this repository."""

    all = patches.read_patches()

    def test_edit_only_what_the_kernel_has(self) -> None:
        ours = patches.repository_files()
        for patch in self.all:
            with self.subTest(patch.path.name):
                self.assertTrue(patch.edits)
                self.assertEqual([], [path for path in patch.edits if path in ours])
                self.assertNotIn("\n--- /dev/null\n", patch.diff)

    def test_name_the_objects_that_they_were_made_from(self) -> None:
        for patch in self.all:
            for path in patch.edits:
                with self.subTest(patch.path.name, path=path):
                    self.assertRegex(patch.before(path) or "", "^[0-9a-f]{40}$")

    def test_bring_every_file_once(self) -> None:
        added = [path for patch in self.all for path in patches.added_by(patch)]
        self.assertEqual(len(added), len(set(added)))
        sources = {file.source for file in patches.repository_files().values()}
        places = ("Kconfig", "kcov/", "include/", "rust/", "samples/", "tools/", "Documentation/dev-tools/")
        missing = [path for path in project_files() if str(path).startswith(places) and TOP / path not in sources]
        self.assertEqual([], missing)


if __name__ == "__main__":
    unittest.main()
