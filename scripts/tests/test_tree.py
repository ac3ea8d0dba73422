# SPDX-License-Identifier: GPL-2.0
"""Tests of harness/patches.py and overlay.py on a tree and a repository in miniature."""

import os
import shutil
import subprocess
import unittest
from pathlib import Path
from typing import List
from unittest import mock

from harness import overlay, patches, series
from harness.hostlib import Failure

from .miniature import ENTRY, MAKEFILE, NOTHING_DONE, OLDER_LOCK, OLDER_TARGETS, RUST_OBJECT, TARGETS, TreeTest, write

AUTHOR = {"GIT_AUTHOR_NAME": "A Tester", "GIT_AUTHOR_EMAIL": "tester@example.org"}


class OverlayTest(TreeTest):
    """Properties that hold in every tree."""

    def test_round_trip(self) -> None:
        before, directories = self.content(), {path for path in self.paths() if path.is_dir()}
        done = self.install()
        self.assertIn("kernel/kcov/hooks/mod.rs", done["added"])
        self.assertIn("lib/Kconfig.kcov", done["added"])
        self.assertIn("kernel/Makefile", done["edited"])
        self.assertIn(RUST_OBJECT, (self.tree / "kernel/Makefile").read_text())
        self.assertIn("TARGETS += kcov\n", (self.tree / "tools/testing/selftests/Makefile").read_text())
        self.assertIn("kernel/kcov/\nF:\tlib/Kconfig.kcov\n", (self.tree / "MAINTAINERS").read_text())
        self.assertEqual("ours\n", (self.tree / "Documentation/dev-tools/kcov.rst").read_text())
        self.assertTrue(patches.is_executable(self.tree / "tools/testing/selftests/kcov/run.sh"))
        self.assertFalse((self.tree / "kernel/kcov/kcov.o").exists())
        self.assertFalse((self.tree / "tools/kcov").exists())
        self.assertFalse((self.tree / "tools/testing/selftests/kcov/kcov").exists())
        self.assertFalse([path for path in self.paths() if path.is_symlink()])
        # The products of a build in the tree are removed as well.
        write(self.tree, "kernel/kcov/kcov.o", "")
        overlay.uninstall(self.tree)
        self.assertEqual(before, self.content())
        self.assertEqual(directories, {path for path in self.paths() if path.is_dir()})
        if self.use_git:
            self.assertEqual("", self.git("status", "--porcelain"))

    def touched(self) -> set:
        """Returns the files that were written since the time stamps were set to 1."""
        return {path for path in self.content() if (self.tree / path).lstat().st_mtime != 1} - {f".{overlay.RECORD}"}

    def test_update_touches_only_changes(self) -> None:
        self.install()
        for path in self.content():
            os.utime(self.tree / path, (1, 1))
        write(self.top, "kcov/Makefile", "obj-y += kcov.o exports.o\n")
        write(self.top, "kcov/new.rs", "// new\n")
        (self.top / "kcov/hooks/mod.rs").unlink()
        self.change(self.top, "patches/0001-one.patch", f"+{RUST_OBJECT}", f"+{RUST_OBJECT}+# more\n")
        done = self.install()
        self.assertEqual(["kernel/kcov/Makefile", "kernel/Makefile"], done["updated"])
        self.assertEqual(["kernel/kcov/new.rs"], done["added"])
        self.assertEqual(["kernel/kcov/hooks/mod.rs"], done["removed"])
        self.assertFalse((self.tree / "kernel/kcov/hooks").exists())
        self.assertEqual({"kernel/kcov/Makefile", "kernel/Makefile", "kernel/kcov/new.rs"}, self.touched())
        self.assertIn(f"{RUST_OBJECT}# more\n", (self.tree / "kernel/Makefile").read_text())
        self.assertEqual(NOTHING_DONE, self.install())

    def test_patch_no_longer_wanted(self) -> None:
        self.install()
        (self.top / "patches/0002-two.patch").unlink()
        removed = self.install()["removed"]
        self.assertIn("tools/testing/selftests/Makefile", removed)
        self.assertIn("tools/testing/selftests/kcov/run.sh", removed)
        self.assertEqual(TARGETS, (self.tree / "tools/testing/selftests/Makefile").read_text())
        self.assertEqual("the tree's own\n", (self.tree / "Documentation/dev-tools/kcov.rst").read_text())
        self.assertIn("kernel/kcov/\nF:\tscripts", (self.tree / "MAINTAINERS").read_text())

    def test_old_tree(self) -> None:
        write(self.tree, "Makefile", MAKEFILE.replace("= 3", "= 1"))
        self.refused("is Linux 7.1.4", "needs 7.2 or later")

    def test_tree_without_spin_lock_irq(self) -> None:
        """The patches of the folder come before the others, only where the tree lacks the lock."""
        self.assertNotIn("rust/interrupt.rs", self.install()["added"])
        overlay.uninstall(self.tree)
        lock, targets = overlay.SPIN_LOCK_IRQ.path, "tools/testing/selftests/Makefile"
        write(self.tree, lock, OLDER_LOCK)
        write(self.tree, targets, OLDER_TARGETS)
        self.commit()
        before = self.content()
        done = self.install()
        self.assertIn("rust/interrupt.rs", done["added"])
        self.assertIn(lock, done["edited"])
        self.assertEqual("// compat\n", (self.tree / "rust/interrupt.rs").read_text())
        self.assertEqual(f"{OLDER_TARGETS}TARGETS += kcov\n", (self.tree / targets).read_text())
        self.assertIn("lib/Kconfig.kcov", (self.tree / "MAINTAINERS").read_text())
        # The tree has the lock now, but only from the overlay.
        self.assertEqual(NOTHING_DONE, self.install())
        with self.assertRaisesRegex(Failure, "lacks SpinLockIrq, and the series"), mock.patch.dict(os.environ, AUTHOR):
            series.write(self.tree, self.scratch / "series", self.top)
        overlay.uninstall(self.tree)
        self.assertEqual(before, self.content())

    def test_no_tree(self) -> None:
        (self.tree / "Kbuild").unlink()
        self.refused("is not a Linux source tree")

    def test_missing_interface(self) -> None:
        write(self.tree, "kernel/fork.c", "nothing\n")
        self.commit()
        self.refused("kcov_task_init()", "kernel/fork.c")

    def test_missing_file(self) -> None:
        (self.tree / "MAINTAINERS").unlink()
        self.commit()
        self.refused("has no MAINTAINERS")

    def test_missing_place(self) -> None:
        """If the last patch does not fit, the changes of the others are undone."""
        write(self.tree, "tools/testing/selftests/Makefile", "TARGETS := kexec\n")
        self.commit()
        said = self.refused("near line 1 of tools/testing/selftests/Makefile", "0002-two.patch", "'TARGETS += kcmp'")
        self.assertEqual(1, len(said.splitlines()))

    def test_divided_place(self) -> None:
        """All the lines are present, but others are between them."""
        write(self.tree, "tools/testing/selftests/Makefile", TARGETS.replace("kcmp\n", "kcmp\nTARGETS += kd\n"))
        self.commit()
        self.refused("0002-two.patch expects 'TARGETS += kexec' after 'TARGETS += kcmp'")

    def test_incomplete_repository(self) -> None:
        (self.top / "Kconfig").unlink()
        self.refused("incomplete", "Kconfig")
        shutil.rmtree(self.top / "patches")
        self.refused("incomplete", "patches")

    def test_damaged_patch(self) -> None:
        self.change(self.top, "patches/0001-one.patch", "\n---\n", "\n")
        self.refused("0001-one.patch is not a patch")

    def test_changed_since(self) -> None:
        self.install()
        for path in ("kernel/kcov/Makefile", "kernel/Makefile"):
            with self.subTest(path):
                write(self.tree, path, "mine\n")
                self.refused(path, "--force")
                with self.assertRaises(Failure) as raised:
                    overlay.uninstall(self.tree)
                self.assertIn(path, str(raised.exception))
                self.assertEqual([path], self.install(force=True)["updated"])
        write(self.tree, "kernel/kcov/Makefile", "mine\n")
        overlay.uninstall(self.tree, force=True)
        self.assertFalse((self.tree / "kernel/kcov").exists())

    def test_changed_to_what_is_wanted(self) -> None:
        self.install()
        self.change(self.tree, "kernel/Makefile", RUST_OBJECT, f"{RUST_OBJECT}# more\n")
        self.change(self.top, "patches/0001-one.patch", f"+{RUST_OBJECT}", f"+{RUST_OBJECT}+# more\n")
        self.assertEqual(NOTHING_DONE, self.install())

    def test_interrupted(self) -> None:
        before = self.content()
        real, calls = overlay.place, []

        def failing(path: Path, data: bytes) -> bool:
            calls.append(path)
            if len(calls) == 5:
                raise OSError("disk full")
            return real(path, data)

        with mock.patch.object(overlay, "place", failing), self.assertRaises(OSError):
            self.install()
        self.assertNotEqual(before, self.content())
        self.install()
        overlay.uninstall(self.tree)
        self.assertEqual(before, self.content())

    def test_file_of_the_tree(self) -> None:
        """A file that a later kernel has at the path of our file is not overwritten silently."""
        write(self.tree, "lib/Kconfig.kcov", "upstream's\n")
        self.commit()
        before = self.content()
        self.refused("lib/Kconfig.kcov", "files of its own")
        self.install(force=True)
        overlay.uninstall(self.tree)
        self.assertEqual(before, self.content())

    def test_replaced_file(self) -> None:
        self.assertEqual([], overlay.plan(overlay.Tree(self.tree), top=self.top).remarks)
        write(self.tree, "Documentation/dev-tools/kcov.rst", "upstream's next text\n")
        self.commit()
        remarks = overlay.plan(overlay.Tree(self.tree), top=self.top).remarks
        self.assertEqual(1, len(remarks))
        self.assertIn("Documentation/dev-tools/kcov.rst", remarks[0])

    def test_partly_committed(self) -> None:
        """A step that the kernel has already is left out."""
        write(self.tree, "tools/testing/selftests/Makefile", TARGETS.replace("kcmp\n", "kcmp\nTARGETS += kcov\n"))
        self.commit()
        before = self.content()
        self.install()
        self.assertEqual(1, (self.tree / "tools/testing/selftests/Makefile").read_text().count("kcov"))
        self.assertIn("kernel/kcov/\nF:\tlib/Kconfig.kcov\n", (self.tree / "MAINTAINERS").read_text())
        overlay.uninstall(self.tree)
        self.assertEqual(before, self.content())

    def test_links(self) -> None:
        """In the tree that is built here, the file that one edits is the file that is compiled."""
        before = self.content()
        self.assertIn("kernel/kcov/Makefile", self.install(link=True)["added"])
        for path, file in patches.repository_files(self.top).items():
            # Debug information names the C files of the kernel. ccache would use the names of our files for links.
            linked = path != "kernel/kcov/gate.c"
            expected = overlay.LINK + os.fsencode(str(file.source)) if linked else b"/* gate */\n"
            self.assertEqual(expected, overlay.read(self.tree / path))
            self.assertFalse((self.tree / path).parent.is_symlink())
        self.assertEqual(self.top / "kcov/Makefile", (self.tree / "kernel/kcov/Makefile").resolve())
        self.assertFalse((self.tree / "kernel/Makefile").is_symlink())
        os.utime(self.top / "kcov/Makefile", (1, 1))
        self.assertEqual(NOTHING_DONE, self.install(link=True))
        self.assertEqual(1, (self.tree / "kernel/kcov/Makefile").stat().st_mtime)
        write(self.top, "kcov/Makefile", "other\n")
        self.assertEqual(NOTHING_DONE, self.install(link=True))
        self.assertEqual("other\n", (self.tree / "kernel/kcov/Makefile").read_text())
        write(self.top, "kcov/gate.c", "/* other */\n")
        self.assertEqual(["kernel/kcov/gate.c"], self.install(link=True)["updated"])
        (self.top / "kcov/hooks/mod.rs").rename(self.top / "kcov/hooks.rs")
        done = self.install(link=True)
        self.assertEqual((["kernel/kcov/hooks.rs"], ["kernel/kcov/hooks/mod.rs"]), (done["added"], done["removed"]))
        overlay.uninstall(self.tree)
        self.assertEqual(before, self.content())
        self.assertEqual("other\n", (self.top / "kcov/Makefile").read_text())

    def test_links_for_copies(self) -> None:
        """Links replace copies and copies replace links, and the files of the repository stay as they are."""
        mine = {path: path.read_bytes() for path in self.top.rglob("*") if path.is_file()}
        before = self.content()
        self.install()
        copies = self.content()
        self.assertIn("kernel/kcov/Makefile", self.install(link=True)["updated"])
        self.assertTrue((self.tree / "kernel/kcov/Makefile").is_symlink())
        self.assertIn("kernel/kcov/Makefile", self.install()["updated"])
        self.assertEqual({**copies, f".{overlay.RECORD}": None}, {**self.content(), f".{overlay.RECORD}": None})
        overlay.uninstall(self.tree)
        self.assertEqual(before, self.content())
        self.assertEqual(mine, {path: path.read_bytes() for path in mine})

    def refresh(self, name: str = "") -> List[str]:
        return [path.name for path in series.refresh(self.tree, name, self.top)]

    def test_refresh(self) -> None:
        self.install()
        self.refresh()
        self.assertEqual([], self.refresh())
        # Next to lines that the second patch changes too.
        self.change(self.tree, "MAINTAINERS", "S:\tMaintained\n", "S:\tMaintained\nB:\tAnother\n")
        self.change(self.tree, "kernel/Makefile", RUST_OBJECT, f"{RUST_OBJECT}# more\n")
        with self.assertRaisesRegex(Failure, "MAINTAINERS, kernel/Makefile of .* name the patch"):
            self.refresh()
        with self.assertRaisesRegex(Failure, "0 patches begin with '7'"):
            self.refresh("7")
        wanted = self.content()
        self.assertEqual(["0001-one.patch", "0002-two.patch"], self.refresh("0001"))
        self.assertEqual([], self.refresh())
        self.assertIn("+# more\n", (self.top / "patches/0001-one.patch").read_text())
        second = (self.top / "patches/0002-two.patch").read_text()
        self.assertNotIn("+B:\tAnother\n", second)
        self.assertIn("+F:\tsamples/kcov/\n", second)
        self.assertEqual(NOTHING_DONE, self.install())
        overlay.uninstall(self.tree)
        self.install()
        self.assertEqual(wanted.keys(), self.content().keys())
        self.assertEqual(wanted["MAINTAINERS"], self.content()["MAINTAINERS"])
        overlay.uninstall(self.tree)
        self.assertEqual(ENTRY, (self.tree / "MAINTAINERS").read_text())

    def test_refresh_after_an_edit_by_hand(self) -> None:
        self.refresh()
        good = (self.top / "patches/0001-one.patch").read_text()
        self.change(self.top, "patches/0001-one.patch", "@@ -2,7 +2,8 @@", "@@ -2,9 +2,9 @@")
        self.assertEqual(["0001-one.patch"], self.refresh())
        self.assertEqual(good, (self.top / "patches/0001-one.patch").read_text())
        # The format of `diff -u`, for a file that no patch has changed so far.
        with (self.top / "patches/0001-one.patch").open("a") as patch:
            patch.write("diff --git a/kernel/exit.c b/kernel/exit.c\n")
            patch.write("--- a/kernel/exit.c\n+++ b/kernel/exit.c\n@@ -1,1 +1,2 @@\n \tkcov_task_exit(tsk);\n+// more\n")
        self.assertEqual(["0001-one.patch"], self.refresh())
        self.assertIn("diff --git a/kernel/exit.c", (self.top / "patches/0001-one.patch").read_text())
        self.assertIn("kernel/exit.c", self.install()["edited"])


class OverlayWithoutGitTest(OverlayTest):
    use_git = False

    def test_edit_near_a_place(self) -> None:
        """Without history that has the original lines, the message names the place."""
        self.change(self.tree, "kernel/Makefile", "exit.o", "exit.o cred.o")
        self.refused("near line 2 of kernel/Makefile", "'obj-y += exit.o'")


class OverlayInGitTest(TreeTest):
    """Properties that need a tree with a history."""

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

    def test_edit_near_a_place(self) -> None:
        """If the history has the original lines, the patches are merged, and the index does not change."""
        self.change(self.tree, "kernel/Makefile", "time.o", "time.o cred.o")
        self.change(self.tree, "MAINTAINERS", "S:\tMaintained\n", "S:\tMaintained\nB:\tAnother\n")
        self.commit()
        objects = self.git("count-objects")
        self.install()
        text = (self.tree / "kernel/Makefile").read_text()
        self.assertIn("time.o cred.o\n", text)
        self.assertIn(RUST_OBJECT, text)
        self.assertIn("Another\nF:\tkernel/kcov.c\nF:\tkernel/kcov/\nF:\tlib/", (self.tree / "MAINTAINERS").read_text())
        self.assertEqual("", self.git("diff", "--cached", "--name-only"))
        self.assertEqual(objects, self.git("count-objects"))
        overlay.uninstall(self.tree)
        self.assertEqual("", self.git("status", "--porcelain"))

    def test_edit_near_a_later_place(self) -> None:
        """The history never had the text from which the second patch was made: the first patch makes it."""
        self.change(self.tree, "MAINTAINERS", "F:\tsamples/a/\n", "F:\tsamples/\n")
        self.commit()
        self.install()
        self.assertIn("F:\tsamples/\nF:\tsamples/m/\nF:\tsamples/kcov/\n", (self.tree / "MAINTAINERS").read_text())

    def test_edit_in_a_place(self) -> None:
        """The message names the change that cannot be merged, and not those that can."""
        self.change(self.tree, "MAINTAINERS", "S:\tMaintained\n", "S:\tMaintained\nB:\tAnother\n")
        self.change(self.tree, "kernel/Makefile", "+= kcov.o", "+= kcov.o more.o")
        self.commit()
        self.refused("near line 2 of kernel/Makefile", "'obj-$(CONFIG_KCOV) += kcov.o'")

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
        self.assertEqual(NOTHING_DONE, self.install())
        overlay.uninstall(self.tree)
        self.assertEqual("", self.git("status", "--porcelain"))
        self.assertTrue((self.tree / "kernel/kcov/Makefile").exists())
        # The result is the same without the record: the series was applied with `git am`.
        self.assertEqual(NOTHING_DONE, self.install())
        # Patches cannot be made from this tree.
        before = {path: path.read_bytes() for path in (self.top / "patches").glob("*.patch")}
        with self.assertRaisesRegex(Failure, "pristine"):
            series.refresh(self.tree, "", self.top)
        self.assertEqual(before, {path: path.read_bytes() for path in before})


if __name__ == "__main__":
    unittest.main()
