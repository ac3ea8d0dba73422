# SPDX-License-Identifier: GPL-2.0
"""Tests of the evaluation of the results of test programs in Rust, and of the page of the report."""

import contextlib
import io
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from checks import report, tools
from harness import browser, crates
from harness.arch import ARCHITECTURES
from harness.checklib import FAILED, PASSED, SKIPPED, Context
from harness.hostlib import Failure

OUTPUT = """
running 3 tests
test one ... ok
test two ... ok
test three ... ignored

successes:

---- one stdout ----
skipped: there is no KCOV
---- two stdout ----
it was skipped: no, only said so

successes:
    one
    two

test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out

running 2 tests
test one ... ok
test odd - name (line 3) ... FAILED

test result: FAILED. 1 passed; 1 failed
"""

TREE = """<div id="tree"><details><summary class="row"><span class="name">{}/</span><span class="bar" style="--share:1%"></span>\
<span class="percent">{}</span><span class="blocks">{}/{}</span></summary></details></div>"""
LINE = '<div class="line code{}" data-line="{}" title="x"><span>1</span><span></span><code>{}</code></div>'


class RustTests(unittest.TestCase):
    def outcomes(self, output):
        return [(result.name, result.outcome) for result in tools.libtest(output, Path("log"))]

    def test_a_skipped_test_is_no_pass(self):
        expected = [("one", SKIPPED), ("two", PASSED), ("three", SKIPPED), ("one", PASSED), ("odd - name (line 3)", FAILED)]
        self.assertEqual(self.outcomes(OUTPUT), expected)

    def test_nothing_is_found_in_a_broken_build(self):
        self.assertEqual(self.outcomes("error[E0425]: test one ... ok"), [])

    def test_a_run_that_hangs_fails(self):
        with tempfile.TemporaryDirectory() as directory:
            stand_in, log = Path(directory) / "cargo", Path(directory)
            # The program keeps the output open, as a test program does.
            stand_in.write_text("#!/bin/sh\nsleep 1000 &\nwait\n", encoding="ascii")
            stand_in.chmod(0o755)
            path = {"PATH": f"{directory}:{os.environ['PATH']}"}
            limit, logs = mock.patch.object(tools, "SECONDS", 0.5), mock.patch.object(tools, "LOGS", log)
            with limit, logs, mock.patch.dict(os.environ, path):
                status, output = tools.cargo("log", "test", "--", "--show-output")
            self.assertNotEqual(status, 0)
            self.assertIn("cargo test was killed: it took more than", output)

    def check(self, on_host, in_guest):
        """Returns the results of the whole check for these outputs of the tests."""
        cargo = mock.patch.object(tools, "cargo", return_value=(0, on_host))
        guests = mock.patch.object(tools, "each_kernel", return_value=iter(tools.libtest(in_guest, Path("log"), "rust: kcov: ")))
        with cargo, guests, mock.patch.object(browser, "find", return_value=("", "none")):
            results = {result.name: result.outcome for result in tools.run(Context())}
        return {name: outcome for name, outcome in results.items() if name.endswith("one")}

    def test_what_ran_in_the_guest_is_not_skipped(self):
        host = "running 1 test\ntest one ... ok\n---- one stdout ----\nskipped: there is no KCOV\n"
        self.assertEqual(self.check(host, "running 1 test\ntest one ... ok\n"), {"rust: kcov: one": PASSED})
        self.assertEqual(self.check(host, ""), {"one": SKIPPED})

    def test_other_architectures_are_refused(self):
        with self.assertRaisesRegex(Failure, "not for arm64"):
            crates.kcov_trace("arm64")


# Makes a program whose file of dependencies names the sources, and $ANOTHER.
CARGO = """#!/bin/sh
[ "$1" = build ] || exit 0
echo "$*" >>"$CALLS"
mkdir -p "$CARGO_TARGET_DIR/$TARGET/release"
cat "$SOURCES"/one/src/main.rs >"$CARGO_TARGET_DIR/$TARGET/release/one"
chmod +x "$CARGO_TARGET_DIR/$TARGET/release/one"
echo "one: $SOURCES/one/src/main.rs $ANOTHER" >"$CARGO_TARGET_DIR/$TARGET/release/one.d"
"""


class KeptPrograms(unittest.TestCase):
    """A program is compiled once for all clones with the same sources."""

    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.top = Path(place.name)
        self.target = ARCHITECTURES["x86_64"].rust_target
        (self.top / "bin").mkdir()
        (self.top / "bin/cargo").write_text(CARGO)
        (self.top / "bin/cargo").chmod(0o755)
        self.path = f"{self.top}/bin:{os.environ['PATH']}"

    def clone(self, name, text="fn main() {}", **variables):
        """Makes the program in a clone; returns its text, and whether cargo has run."""
        workspace = self.top / name / "tools"
        for path in ("one/src/main.rs", "kcov/src/lib.rs", "Cargo.lock", "one/Cargo.toml", "kcov/Cargo.toml"):
            (workspace / path).parent.mkdir(parents=True, exist_ok=True)
            manifest = f'[package]\nname = "{Path(path).parts[0]}"\n'
            (workspace / path).write_text(manifest if path.endswith("Cargo.toml") else text)
        calls = self.top / "calls"
        calls.write_text("")
        more = {"PATH": self.path, "CALLS": str(calls), "SOURCES": str(workspace), "TARGET": self.target, "ANOTHER": ""}
        build = self.top / name / "build"
        with mock.patch.multiple(
            crates, WORKSPACE=workspace, BUILD=build, TARGET_DIR=build / "cargo", LOGS=build, KEPT=self.top / "kept"
        ), mock.patch.dict(os.environ, {**more, **variables}), contextlib.redirect_stdout(io.StringIO()):
            program = crates.program("one", "x86_64")
            self.assertTrue(os.access(program, os.X_OK))
            self.assertTrue(program.is_relative_to(build))
            return program.read_text(), bool(calls.read_text())

    def test_another_clone_has_the_same_sources(self):
        self.assertEqual(self.clone("a"), ("fn main() {}", True))
        self.assertEqual(self.clone("b"), ("fn main() {}", False))
        self.assertEqual(self.clone("b", "// more"), ("// more", True))
        self.assertEqual(self.clone("c", "// more"), ("// more", False))
        # Cargo has the objects of this clone, and is asked what has changed.
        self.assertEqual(self.clone("a"), ("fn main() {}", True))

    def test_settings_are_part_of_the_label(self):
        self.clone("a")
        self.assertTrue(self.clone("b", CARGO_PROFILE_RELEASE_LTO="true")[1])
        (self.top / "d/tools/.cargo").mkdir(parents=True)
        (self.top / "d/tools/.cargo/config.toml").write_text("[build]")
        self.assertTrue(self.clone("d")[1])

    def test_a_program_of_unknown_files_is_not_kept(self):
        self.clone("a", ANOTHER="/usr/include/stdio.h")
        self.assertTrue(self.clone("b")[1])

    def test_sources_of_our_programs(self):
        for name, directory in (("kcov-trace", "kcov-trace"), ("kcov-random", "random")):
            files = {path.relative_to(crates.WORKSPACE).as_posix() for path in crates.sources(name)}
            self.assertLessEqual({f"{directory}/src/main.rs", "kcov/src/lib.rs", "Cargo.lock", "Cargo.toml"}, files)
            self.assertFalse({path for path in files if path.startswith("target/")})

    def test_few_are_kept(self):
        for number in range(crates.MOST_KEPT + 3):
            self.clone(f"a{number}", f"// {number}")
        self.assertEqual(len(list((self.top / "kept").iterdir())), crates.MOST_KEPT)
        self.assertFalse(self.clone("z", f"// {number}")[1])


class Page(unittest.TestCase):
    def test_an_empty_page_has_no_tree(self):
        self.assertEqual(len(report.tree_problems("<html></html>")), len(report.FOLDERS))

    def test_a_good_tree(self):
        page = "".join(TREE.format(name, "4.2 %", 3, 70) for name in report.FOLDERS)
        self.assertEqual(report.tree_problems(page), [])

    def test_odd_numbers_are_found(self):
        page = "".join(TREE.format(name, "NaN %", 80, 70) for name in report.FOLDERS)
        self.assertEqual(len(report.tree_problems(page)), 2 * len(report.FOLDERS))

    def lines(self, *lines):
        return "".join(LINE.format(state, number, text) for number, (state, text) in enumerate(lines, 1))

    def test_a_good_source(self):
        entry = ("", report.ENTRY + " unsigned int fd")
        page = self.lines(("", "/* text */"), (" uncovered", "x"), entry, (" covered here", "{"))
        self.assertEqual(report.source_problems(page), [])

    def test_a_source_without_colours_is_found(self):
        page = self.lines(("", "/* text */"), ("", report.ENTRY), ("", "{"))
        self.assertEqual(len(report.source_problems(page)), 3)

    def test_a_source_that_is_not_there_is_found(self):
        self.assertEqual(len(report.source_problems("Choose a file")), 4)


class Browser(unittest.TestCase):
    def test_why_there_is_none(self):
        answer = mock.Mock(stdout=b"some\nerror: no such package\n")
        with mock.patch("shutil.which", return_value=None), mock.patch("subprocess.run", return_value=answer):
            browser.find.cache_clear()
            found, why_not = browser.find()
        browser.find.cache_clear()
        self.assertEqual(found, "")
        self.assertIn("no such package", why_not)


if __name__ == "__main__":
    unittest.main()
