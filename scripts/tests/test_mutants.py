# SPDX-License-Identifier: GPL-2.0
"""Tests of the generator of wrong changes, and of the records of what became of them."""

import tempfile
import unittest
from pathlib import Path
from typing import List

import mutants as command
from harness import mutation
from harness.hostlib import Failure
from harness.mutation import KILLED, NO_BUILD, SAME_CODE, SURVIVED, Mutant, Record, Records

RUST = """\
use core::ptr;

/// Returns 5 if a < b.
#[cfg(all(A, B))]
fn first(a: u32) -> Result {
    if a < 3 && a != 0 {
        return Err(EINVAL);
    }
    log("a < 4", '5'); // a < 6
    self.count.store(a + 1, ordering::Release);
    let text = state(a)?;
    match a {
        Mode::Pc => one(),
        Mode::Cmp => two(),
    }
}

#[cfg(CONFIG_KCOV_KUNIT_TEST)]
#[kunit_tests(kcov)]
mod tests {
    fn test(a: u32) {
        check(a < 1);
    }
}
"""
C = """\
#include <linux/a.h>
#define LIMIT 4

/* Returns 5 if a < b. */
static int first(int a)
{
	if (!a || a == 3)
		return -EINTR;
	smp_store_release(&flag, true);
	wake_up_all(&queue);
	return 0;
}
"""


def changes(path: str, text: str) -> List[str]:
    """The operator and the changed line of each change, and its number."""
    result = []
    for mutant in mutation.generated(path, text):
        _, number, operator, _ = mutant.name.split(":")
        result.append(f"{number} {operator} {mutant.text.splitlines()[int(number) - 1].strip()}".strip())
    return result


class Generator(unittest.TestCase):
    def test_rust(self):
        self.assertEqual(
            changes("kcov/a.rs", RUST),
            [
                "6 compare if a <= 3 && a != 0 {",
                "6 compare if a < 3 && a == 0 {",
                "6 and-or if a < 3 || a != 0 {",
                "6 constant if a < 4 && a != 0 {",
                "6 constant if a < 3 && a != 1 {",
                "6 negate if !(a < 3 && a != 0) {",
                "7 errno return Err(EBUSY);",
                "7 return",
                "9 remove // a < 6",
                "10 plus self.count.store(a - 1, ordering::Release);",
                "10 relaxed self.count.store(a + 1, ordering::Relaxed);",
                "10 constant self.count.store(a + 2, ordering::Release);",
                "10 remove",
                "13 arms Mode::Pc => two(),",
            ],
        )

    def test_c(self):
        self.assertEqual(
            changes("kcov/a.c", C),
            [
                "7 compare if (!a || a != 3)",
                "7 and-or if (!a && a == 3)",
                "7 constant if (!a || a == 4)",
                "7 negate if (!(!a || a == 3))",
                "8 errno return -EAGAIN;",
                "8 return",
                "9 boolean smp_store_release(&flag, false);",
                "9 relaxed WRITE_ONCE(&flag, true);",
                "9 remove",
                "10 remove",
                "11 constant return 1;",
                "11 return",
            ],
        )

    def test_lines_keep_their_numbers(self):
        for path, text in (("kcov/a.rs", RUST), ("kcov/a.c", C)):
            for mutant in mutation.generated(path, text):
                self.assertEqual(mutant.text.count("\n"), text.count("\n"), mutant.name)
                self.assertNotEqual(mutant.text, text, mutant.name)

    def test_names(self):
        names = [mutant.name for mutant in mutation.generated("kcov/a.rs", RUST)]
        self.assertEqual(len(set(names)), len(names))
        self.assertRegex(names[0], r"^kcov/a\.rs:6:compare:[0-9a-f]{6}$")
        self.assertEqual(names[1], f"{names[0]}.2")
        # They depend on the line and its number only.
        moved = [mutant.name for mutant in mutation.generated("kcov/a.rs", f"\n{RUST}")]
        self.assertEqual([mutation.without_line(name) for name in moved], [mutation.without_line(name) for name in names])
        self.assertNotEqual(moved, names)

    def test_every_source_has_code_left(self):
        texts = mutation.sources()
        self.assertIn("kcov/remote/pool.rs", texts)
        self.assertNotIn("kcov/tests.rs", texts)
        self.assertNotIn("kcov/arch/x86.rs", texts)
        self.assertGreater(sum(len(mutation.generated(path, text)) for path, text in texts.items()), 500)


class Own(unittest.TestCase):
    TEXTS = {"kcov/a.c": C}

    def read(self, text: str) -> List[Mutant]:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write(text)
            file.flush()
            return mutation.read_own(Path(file.name), self.TEXTS)

    def test_change(self):
        text = "# comment\n\nname: A sentence.\nkcov/a.c\n-\twake_up_all(&queue);\n-\treturn 0;\n+\treturn 1;\n"
        (mutant,) = self.read(text)
        self.assertEqual((mutant.name, mutant.path, mutant.description), ("own:name", "kcov/a.c", "A sentence."))
        self.assertEqual(mutant.text, C.replace("\twake_up_all(&queue);\n\treturn 0;\n", "\treturn 1;\n\n"))

    def test_refused(self):
        good = "name: A sentence.\nkcov/a.c\n-\treturn 0;\n+\treturn 1;\n"
        for text, message in (
            (good.replace("return 0", "return 2"), "0 times"),
            (good.replace("-\treturn 0;", "-{"), None),
            (good.replace("-\treturn 0;", "-return 0;"), "0 times"),
            (good.replace("kcov/a.c", "kcov/b.c"), "no kcov/b.c"),
            (good.replace("A sentence.", "A sentence"), "write `NAME"),
            (good.replace("-\t", " \t"), "write `NAME"),
            (f"{good}\n{good}", "twice"),
        ):
            with self.subTest(text=text):
                if message:
                    self.assertRaisesRegex(Failure, message, self.read, text)
                else:
                    self.read(text)

    def test_list_of_this_repository(self):
        self.assertGreaterEqual(len(mutation.read_own(mutation.OWN, mutation.sources())), 30)


class Survivors(unittest.TestCase):
    NAMES = ("own:name", "kcov/a.rs:6:compare:abcdef", "kcov/a.rs:7:remove:123456", "kcov/a.rs:9:remove:123456")
    MUTANTS = [Mutant(name, "kcov/a.rs", "", "") for name in NAMES]

    def read(self, *lines: str):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write("# comment\n\n" + "\n".join(lines))
            file.flush()
            return mutation.read_survivors(Path(file.name), self.MUTANTS)

    def test_reasons(self):
        found = self.read("own:name: One.", "kcov/a.rs:7:remove:123456: Two.")
        self.assertEqual(found, {"own:name": "One.", "kcov/a.rs:7:remove:123456": "Two."})

    def test_line_that_moved(self):
        self.assertEqual(self.read("kcov/a.rs:5:compare:abcdef: One."), {"kcov/a.rs:6:compare:abcdef": "One."})
        # Two changes fit.
        self.assertRaisesRegex(Failure, "no change has the name", self.read, "kcov/a.rs:8:remove:123456: One.")

    def test_refused(self):
        for lines, message in (
            (["own:other: One."], "no change has the name own:other"),
            (["kcov/a.rs:6:compare:fedcba: One."], "no change has the name"),
            (["own:name: One"], "write `NAME"),
            (["own:name: One.", "own:name: Two."], "twice"),
            (["kcov/a.rs:6:compare:abcdef: One.", "kcov/a.rs:5:compare:abcdef: Two."], "twice"),
        ):
            with self.subTest(lines=lines):
                self.assertRaisesRegex(Failure, message, self.read, *lines)

    def test_list_of_this_repository(self):
        command.all_mutants()


class Bookkeeping(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "host.json"
        self.mutant = Mutant("own:name", "kcov/a.rs", "text", "A sentence.")

    def test_records_are_kept(self):
        record = Record(self.mutant.digest, KILLED, "models", "test", 5)
        Records(self.path).keep(self.mutant, record)
        self.assertEqual(Records(self.path).of(self.mutant), record)

    def test_record_of_another_text(self):
        Records(self.path).keep(self.mutant, Record(self.mutant.digest, SURVIVED))
        self.assertIsNone(Records(self.path).of(Mutant("own:name", "kcov/a.rs", "other text", "")))

    def test_verdict(self):
        records = {outcome: Record("", outcome, outcome) for outcome in (KILLED, NO_BUILD, SAME_CODE, SURVIVED)}
        for outcomes, expected in (
            ((None, None), None),
            ((KILLED, None), KILLED),
            ((SURVIVED, KILLED), KILLED),
            ((KILLED, SURVIVED), KILLED),
            ((SURVIVED, None), SURVIVED),
            ((SURVIVED, NO_BUILD), NO_BUILD),
            # The crate on the host may lack an operation that the kernel has.
            ((NO_BUILD, SURVIVED), SURVIVED),
            ((None, SAME_CODE), SAME_CODE),
        ):
            with self.subTest(outcomes=outcomes):
                verdict = mutation.verdict([records[outcome] if outcome else None for outcome in outcomes])
                self.assertEqual(verdict.outcome if verdict else None, expected)

    def test_table(self):
        results = [
            (Mutant(f"own:{number}", path, "", ""), Record("", outcome, check))
            for number, (path, outcome, check) in enumerate(
                [
                    ("kcov/b.rs", KILLED, "models"),
                    ("kcov/a.rs", KILLED, "KUnit"),
                    ("kcov/a.rs", SURVIVED, ""),
                    ("kcov/a.rs", SURVIVED, ""),
                    ("kcov/a.rs", NO_BUILD, ""),
                    ("kcov/a.rs", SAME_CODE, ""),
                ]
            )
        ]
        self.assertEqual(
            mutation.table(results, {"own:2": "One."}).splitlines(),
            [
                "| file | changes | found by KUnit | found by models | cannot matter | not found |",
                "| --- | --- | --- | --- | --- | --- |",
                "| `kcov/a.rs` | 3 | 1 | 0 | 1 | 1 |",
                "| `kcov/b.rs` | 1 | 0 | 1 | 0 | 0 |",
                "| all | 4 | 1 | 1 | 1 | 1 |",
            ],
        )

    def test_sample(self):
        mutants = [Mutant(f"kcov/a.rs:{number}:compare:abcdef", "kcov/a.rs", "", "") for number in range(100)]
        mutants.append(self.mutant)

        def sample(**more):
            options = {"file": [], "name": [], "own": False, "sample": 10, "seed": 1, **more}
            return [mutant.name for mutant in command.chosen(mutants, command.argparse.Namespace(**options))]

        self.assertEqual(len(sample()), 10)
        self.assertEqual(sample(), sample())
        self.assertNotEqual(sample(), sample(seed=2))
        self.assertNotIn("own:name", sample())
        self.assertEqual(sample(sample=None, own=True), ["own:name"])
        self.assertEqual(len(sample(sample=None)), 101)
        self.assertRaisesRegex(Failure, "no file", sample, file=["kcov/c.rs"])
        self.assertRaisesRegex(Failure, "no change", sample, name=["own:other"])


class Stages(unittest.TestCase):
    def test_files_of_the_host(self):
        files = command.Host().files
        self.assertIn("kcov/layout.rs", files)
        self.assertIn("kcov/remote/pool.rs", files)
        self.assertNotIn("kcov/device.rs", files)
        self.assertLessEqual(files, set(mutation.sources()))
        self.assertLessEqual(command.NO_PROPERTIES | command.MODELS | command.NO_RUNS, files)

    def test_steps_of_the_host(self):
        for path, steps in (
            ("kcov/set.rs", ["properties"]),
            ("kcov/layout.rs", ["properties", "runs"]),
            ("kcov/remote/pool.rs", ["properties", "models", "runs"]),
            ("rust/kernel/sync/slot.rs", ["models"]),
        ):
            self.assertEqual(command.steps_of(path), steps, path)

    def test_first_failure_of_the_host(self):
        found = command.Host.FAILED.search("test a ... ok\ntest b::c ... FAILED\ntest d ... FAILED\n")
        self.assertEqual(found[1], "b::c")
        found = command.Host.ENDED.search("  process didn't exit successfully: `a` (signal: 11, SIGSEGV: x)\n")
        self.assertEqual(found[1], "signal: 11, SIGSEGV: x")

    def test_first_failure_of_user_mode(self):
        usual = {"rust: a: x": "passed", "rust: a: y": "skipped", "rust: sound": "failed"}
        for name, outcome, expected in (
            ("rust: a: x", "passed", ""),
            ("rust: a: x", "failed", "a: x"),
            # A change that cannot be tried any more has not passed.
            ("rust: a: x", "skipped", "a: x"),
            ("rust: a: y", "skipped", ""),
            ("rust: a: y", "failed", "a: y"),
            # The machine may be the reason.
            ("rust: sound", "failed", ""),
            ("rust: a", "failed", "a"),
            ("rust: b", "skipped", ""),
        ):
            with self.subTest(name=name, outcome=outcome):
                worker = command.UserMode.__new__(command.UserMode)
                worker.usual = usual
                results = [command.Result("rust: a: x", "passed"), command.Result(name, outcome)]
                self.assertEqual(worker.first_failure(results), expected)
        self.assertEqual([command.UserMode.program(name) for name in ("rust: a: x", "rust: a", "x")], ["a", "a", ""])

    def test_time_for_the_suite(self):
        worker = command.UserMode.__new__(command.UserMode)
        worker.suite = dict.fromkeys("abcdefgh")
        worker.suite_seconds = 0.0
        # Every program may take as long as it may, until a run has shown how long they take.
        self.assertGreaterEqual(worker.time_for_suite(), 8 * command.PROGRAM_SECONDS)
        worker.suite_seconds = 1000.0
        self.assertGreaterEqual(worker.time_for_suite(), 1000 + command.PROGRAM_SECONDS)

    def test_suite_stops(self):
        self.assertRegex(command.conformance.COMMAND, command.UserMode.LOOP)
        self.assertIn(f"KILL {command.conformance.PROGRAM_SECONDS} ", command.conformance.COMMAND)


if __name__ == "__main__":
    unittest.main()
