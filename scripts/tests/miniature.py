# SPDX-License-Identifier: GPL-2.0
"""A tree and a repository in miniature, for tests of patches.py, overlay.py and series.py."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import Dict, List, Optional
from unittest import mock

from harness import overlay
from harness.hostlib import Failure

MAKEFILE = "VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\n"
OBJECTS = (
    "obj-y += fork.o\nobj-y += exec.o\nobj-y += time.o\nobj-y += exit.o\nobj-$(CONFIG_KCOV) += kcov.o\n"
    "obj-y += cpu.o\nobj-y += pid.o\nobj-y += sys.o\nobj-y += kmod.o\n"
)
RUST_OBJECT = "obj-$(CONFIG_KCOV_RUST) += kcov/\n"
ENTRY = "KCOV\nM:\tA Person\nL:\tlist\nS:\tMaintained\nF:\tkernel/kcov.c\nF:\tscripts/Makefile.kcov\nT:\tgit\n"
ENTRY += "KCSAN\nM:\tA Person\nL:\tlist\nF:\tkernel/kcsan/\nSAMPLES\nF:\tsamples/a/\nF:\tsamples/m/\nF:\tsamples/z/\n"
OLDER_LOCK = "pub type SpinLock<T>\n"
OLDER_TARGETS = "TARGETS := kexec\n"
TARGETS = "TARGETS += kcmp\nTARGETS += kexec\n"
NOTHING_DONE: Dict[str, List[str]] = {"added": [], "edited": [], "updated": [], "removed": []}


def write(root: Path, path: str, text: str) -> Path:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    return target


def small_tree(root: Path) -> None:
    """Writes a tree with the lines that the patches change and that the interface checks look for."""
    texts = {
        "Makefile": MAKEFILE,
        "Kbuild": "",
        "kernel/Makefile": OBJECTS,
        "MAINTAINERS": ENTRY,
        "tools/testing/selftests/Makefile": TARGETS,
        "Documentation/dev-tools/kcov.rst": "the tree's own\n",
    }
    for interface in (*overlay.INTERFACES, overlay.SPIN_LOCK_IRQ):
        texts[interface.path] = texts.get(interface.path, "") + interface.text + "\n"
    for path, text in texts.items():
        write(root, path, text)


def patch_text(subject: str, trailers: str, changes: Dict[str, tuple]) -> str:
    """Returns a patch in the form of patches/: CHANGES has the text before and after for each path."""
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
    # Products of builds, which must stay in the repository.
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
    # For trees without SpinLockIrq, and with another Makefile of the selftests, to which the second patch does not apply.
    lock = overlay.SPIN_LOCK_IRQ
    changes = {
        "tools/testing/selftests/Makefile": (OLDER_TARGETS, OLDER_TARGETS + "TARGETS += kcov\n"),
        lock.path: (OLDER_LOCK, f"{OLDER_LOCK}{lock.text}T>\n"),
    }
    text = patch_text("rust: three", "Instead: tools/testing/selftests/Makefile\n", changes)
    text += "diff --git a/rust/interrupt.rs b/rust/interrupt.rs\nnew file mode 100644\n--- /dev/null\n+++ b/rust/interrupt.rs\n"
    write(root, f"patches/{overlay.WITHOUT_SPIN_LOCK_IRQ}/0001-three.patch", text + "@@ -0,0 +1,1 @@\n+// compat\n")


def without_git_settings(home: Path) -> Dict[str, str]:
    """Returns the environment without the person's own git configuration, and without the repository of a git hook."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {**environment, "HOME": str(home), "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


class TreeTest(unittest.TestCase):
    """A tree and a repository in miniature, and the operations of the tests on them."""

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
        """Returns the content of each file and each link."""
        files = [path for path in self.paths() if path.is_symlink() or not path.is_dir()]
        return {path.relative_to(self.tree).as_posix(): overlay.read(path) for path in files}

    def change(self, root: Path, path: str, old: str, new: str) -> None:
        text = (root / path).read_text()
        self.assertIn(old, text)
        write(root, path, text.replace(old, new))

    def install(self, **options: bool) -> Dict[str, List[str]]:
        return overlay.install(self.tree, top=self.top, **options)[1]

    def refused(self, *words: str, **options: bool) -> str:
        """Checks that an attempt to install fails with WORDS in the message and writes nothing."""
        before = self.content()
        with self.assertRaises(Failure) as raised:
            self.install(**options)
        for word in words:
            self.assertIn(word, str(raised.exception))
        self.assertEqual(before, self.content())
        return str(raised.exception)
