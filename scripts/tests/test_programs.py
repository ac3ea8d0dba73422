# SPDX-License-Identifier: GPL-2.0
"""Tests that another run in the same build directory sees only complete programs while programs are built."""

import tempfile
import unittest
from pathlib import Path
from unittest import mock

from harness import programs
from harness.hostlib import Failure


class Programs(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.root = Path(place.name)
        self.target = self.root / "program"
        self.target.write_text("old\n")

    def compile(self, script):
        """Mocks a compiler; the name after -o is $2."""
        return programs.compile_to(self.target, ["sh", "-c", script, "sh"], self.root / "program.c")

    def test_whole_while_compiled(self):
        self.compile(f'echo half >"$2" && cp {self.target} {self.root}/seen && echo new >"$2"')
        self.assertEqual((self.root / "seen").read_text(), "old\n")
        self.assertEqual(self.target.read_text(), "new\n")

    def test_failure_leaves_what_was(self):
        with self.assertRaisesRegex(Failure, "no semicolon"):
            self.compile('echo half >"$2"; echo no semicolon; exit 1')
        self.assertEqual([path.name for path in self.root.iterdir()], ["program"])
        self.assertEqual(self.target.read_text(), "old\n")

    def test_selftests(self):
        """The present programs stay until the new ones are built; programs that are no longer in the suite are removed."""
        (self.root / "tree/tools/testing/selftests/kcov").mkdir(parents=True)
        out = self.root / "selftests/x86_64"
        out.mkdir(parents=True)
        for name in ("kept", "gone"):
            (out / name).write_text("old")

        def make(_suite, new, _tree, _arch):
            self.assertEqual(sorted(path.name for path in out.iterdir()), ["gone", "kept"])
            new.mkdir()
            for name in ("kept", "added"):
                (new / name).write_text("new")
            return {name: new / name for name in ("kept", "added")}

        with mock.patch.object(programs, "BUILD", self.root), mock.patch.object(programs, "make_selftests", make):
            found = programs.selftests(self.root / "tree")
        self.assertEqual(found, {name: out / name for name in ("kept", "added")})
        self.assertEqual({path.name: path.read_text() for path in out.iterdir()}, {"kept": "new", "added": "new"})


if __name__ == "__main__":
    unittest.main()
