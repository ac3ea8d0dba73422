#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""
Tests of harness/patches.py, overlay.py and series.py on a tree and a repository in miniature, and of what patches/ has to
be like.
"""

import contextlib
import io
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import Dict, List, Optional
from unittest import mock

from harness import kernel, overlay, patches, series
from harness.checklib import project_files
from harness.hostlib import TOP, Failure

MAKEFILE = "VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\n"
OBJECTS = (
    "obj-y += fork.o\nobj-y += exec.o\nobj-y += time.o\nobj-y += exit.o\nobj-$(CONFIG_KCOV) += kcov.o\n"
    "obj-y += cpu.o\nobj-y += pid.o\nobj-y += sys.o\nobj-y += kmod.o\n"
)
RUST_OBJECT = "obj-$(CONFIG_KCOV_RUST) += kcov/\n"
ENTRY = "KCOV\nM:\tA Person\nL:\tlist\nS:\tMaintained\nF:\tkernel/kcov.c\nF:\tscripts/Makefile.kcov\nT:\tgit\n"
ENTRY += "KCSAN\nM:\tA Person\nL:\tlist\nF:\tkernel/kcsan/\nSAMPLES\nF:\tsamples/a/\nF:\tsamples/m/\nF:\tsamples/z/\n"
TARGETS = "TARGETS += kcmp\nTARGETS += kexec\n"
NOTHING_DONE: Dict[str, List[str]] = {"added": [], "edited": [], "updated": [], "removed": []}


def write(root: Path, path: str, text: str) -> Path:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    return target


def small_tree(root: Path) -> None:
    """A tree with what the patches change and the interface checks look for."""
    texts = {
        "Makefile": MAKEFILE,
        "Kbuild": "",
        "kernel/Makefile": OBJECTS,
        "MAINTAINERS": ENTRY,
        "tools/testing/selftests/Makefile": TARGETS,
        "Documentation/dev-tools/kcov.rst": "the tree's own\n",
    }
    for interface in overlay.INTERFACES:
        texts[interface.path] = texts.get(interface.path, "") + interface.text + "\n"
    for path, text in texts.items():
        write(root, path, text)


def patch_text(subject: str, trailers: str, changes: Dict[str, tuple]) -> str:
    """A patch as it is kept: CHANGES has the text before and after for each path."""
    diff = ""
    for path, texts in sorted(changes.items()):
        with tempfile.TemporaryDirectory() as temporary:
            for side, text in zip("ab", texts):
                write(Path(temporary), f"{side}/{path}", text)
            command = ["git", "diff", "--no-index", "--no-prefix", "--full-index", f"a/{path}", f"b/{path}"]
            result = subprocess.run(command, cwd=temporary, stdout=subprocess.PIPE, check=False)
        diff += result.stdout.decode()
    return f"Subject: [PATCH] {subject}\n\nA reason.\n\n{trailers}---\n{diff}"


def small_repository(root: Path) -> None:
    write(root, "Kconfig", "choice\nendchoice\n")
    write(root, "kcov/Makefile", "obj-y += kcov.o\n")
    write(root, "kcov/hooks/mod.rs", "// hooks\n")
    write(root, "kcov/gate.c", "/* gate */\n")
    write(root, "tools/testing/selftests/kcov/pc_test.c", "/* test */\n")
    write(root, "tools/testing/selftests/kcov/Makefile", "TEST_GEN_PROGS := kcov\n")
    write(root, "tools/testing/selftests/kcov/run.sh", "#!/bin/sh\n").chmod(0o755)
    write(root, "Documentation/dev-tools/kcov.rst", "ours\n")
    # Products of builds, which stay at home.
    write(root, "kcov/kcov.o", "product")
    write(root, "tools/kcov/target/debug/x", "product")
    (root / "tools/testing/selftests/kcov/kcov").write_bytes(b"\x7fELF")
    # Both patches change MAINTAINERS, the second next to the lines of the first and at another place.
    first = ENTRY.replace("F:\tscripts", "F:\tkernel/kcov/\nF:\tscripts")
    second = first.replace("F:\tscripts", "F:\tlib/Kconfig.kcov\nF:\tscripts")
    second = second.replace("F:\tsamples/z", "F:\tsamples/kcov/\nF:\tsamples/z")
    objects = OBJECTS.replace("(CONFIG_KCOV) += kcov.o\n", f"(CONFIG_KCOV_C) += kcov.o\n{RUST_OBJECT}")
    changes = {"kernel/Makefile": (OBJECTS, objects), "MAINTAINERS": (ENTRY, first)}
    write(root, "patches/0001-one.patch", patch_text("kcov: one", "Adds: Kconfig kcov/\n", changes))
    targets = TARGETS.replace("kcmp\n", "kcmp\nTARGETS += kcov\n")
    changes = {"tools/testing/selftests/Makefile": (TARGETS, targets), "MAINTAINERS": (first, second)}
    trailers = "Adds: tools/ Documentation/dev-tools/\nReplaces: Documentation/dev-tools/kcov.rst "
    trailers += "ac427245c96470c822046141859894062d2a1545\n"
    write(root, "patches/0002-two.patch", patch_text("kcov: two", trailers, changes))
    # What is in a folder there is not part of the series.
    write(root, "patches/compat-7.2/0003-three.patch", "not for this tree\n")


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
        if self.use_git:
            self.git("add", "-A", "-f")
            self.git("commit", "-q", "-m", "x")

    def paths(self) -> List[Path]:
        return [path for path in self.tree.rglob("*") if ".git" not in path.relative_to(self.tree).parts]

    def content(self) -> Dict[str, Optional[bytes]]:
        """Each file and each link."""
        files = [path for path in self.paths() if path.is_symlink() or not path.is_dir()]
        return {path.relative_to(self.tree).as_posix(): overlay.read(path) for path in files}

    def change(self, root: Path, path: str, old: str, new: str) -> None:
        text = (root / path).read_text()
        self.assertIn(old, text)
        write(root, path, text.replace(old, new))

    def install(self, **options: bool) -> Dict[str, List[str]]:
        return overlay.install(self.tree, top=self.top, **options)[1]

    def refused(self, *words: str, **options: bool) -> str:
        """An attempt to install names WORDS and writes nothing."""
        before = self.content()
        with self.assertRaises(Failure) as raised:
            self.install(**options)
        for word in words:
            self.assertIn(word, str(raised.exception))
        self.assertEqual(before, self.content())
        return str(raised.exception)


class OverlayTest(TreeTest):
    """What has to hold in every tree."""

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
        # What a build in the tree leaves is cleaned up as well.
        write(self.tree, "kernel/kcov/kcov.o", "")
        overlay.uninstall(self.tree)
        self.assertEqual(before, self.content())
        self.assertEqual(directories, {path for path in self.paths() if path.is_dir()})
        if self.use_git:
            self.assertEqual("", self.git("status", "--porcelain"))

    def touched(self) -> set:
        """What was written since the time stamps were set to 1."""
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
        write(self.tree, "Makefile", MAKEFILE.replace("= 3", "= 2"))
        self.refused("is Linux 7.2.4", "needs 7.3 or later")

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
        """The last patch does not fit, and nothing of the others is left."""
        write(self.tree, "tools/testing/selftests/Makefile", "TARGETS := kexec\n")
        self.commit()
        said = self.refused("near line 1 of tools/testing/selftests/Makefile", "0002-two.patch", "'TARGETS += kcmp'")
        self.assertEqual(1, len(said.splitlines()))

    def test_divided_place(self) -> None:
        """All the lines are there, but others are between them."""
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
        """A file that a later kernel has at the place of ours is not overwritten in silence."""
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
        """A step that the kernel has taken already is left out."""
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
            # Debug information names the C files of the kernel, which ccache would call by the names of ours.
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
        """Each takes the place of the other, and the files of the repository stay as they are."""
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
        # Beside lines that the second patch changes, too.
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
        # The form of `diff -u`, for a file that no patch has changed so far.
        with (self.top / "patches/0001-one.patch").open("a") as patch:
            patch.write("diff --git a/kernel/exit.c b/kernel/exit.c\n")
            patch.write("--- a/kernel/exit.c\n+++ b/kernel/exit.c\n@@ -1,1 +1,2 @@\n \tkcov_task_exit(tsk);\n+// more\n")
        self.assertEqual(["0001-one.patch"], self.refresh())
        self.assertIn("diff --git a/kernel/exit.c", (self.top / "patches/0001-one.patch").read_text())
        self.assertIn("kernel/exit.c", self.install()["edited"])


class OverlayWithoutGitTest(OverlayTest):
    use_git = False

    def test_edit_near_a_place(self) -> None:
        """Where no history tells what was there before, the place is named."""
        self.change(self.tree, "kernel/Makefile", "exit.o", "exit.o cred.o")
        self.refused("near line 2 of kernel/Makefile", "'obj-y += exit.o'")


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

    def test_edit_near_a_place(self) -> None:
        """Where the history has what was there before, the patches are merged, and the index is left alone."""
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
        """The history never had what the second patch was made from: the first makes it."""
        self.change(self.tree, "MAINTAINERS", "F:\tsamples/a/\n", "F:\tsamples/\n")
        self.commit()
        self.install()
        self.assertIn("F:\tsamples/\nF:\tsamples/m/\nF:\tsamples/kcov/\n", (self.tree / "MAINTAINERS").read_text())

    def test_edit_in_a_place(self) -> None:
        """What cannot be merged is named, and not what could be."""
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
        # Without the record, too: the series was taken with `git am`.
        self.assertEqual(NOTHING_DONE, self.install())
        # Patches cannot be made from it.
        before = {path: path.read_bytes() for path in (self.top / "patches").glob("*.patch")}
        with self.assertRaisesRegex(Failure, "pristine"):
            series.refresh(self.tree, "", self.top)
        self.assertEqual(before, {path: path.read_bytes() for path in before})


class BuiltTreeTest(unittest.TestCase):
    """Who gets links: the tree that is unpacked here, and no tree of a person."""

    def test_links(self) -> None:
        installed = mock.Mock(return_value=(mock.Mock(files={}), NOTHING_DONE))
        with tempfile.TemporaryDirectory() as place, mock.patch.object(kernel, "BUILD", Path(place)), mock.patch.object(
            kernel, "unpack"
        ), mock.patch.object(kernel.overlay, "install", installed):
            for named, link in (("", True), (f"{place}/linux", False)):
                with self.subTest(named), mock.patch.dict(os.environ, KERNEL=named):
                    tree = kernel.prepare_tree()
                    installed.assert_called_with(tree, link=link)


class SeriesTest(TreeTest):
    """The series gives what install gives, and leaves the tree alone."""

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
