# SPDX-License-Identifier: GPL-2.0
"""Tests of the frame of `make test`, and of the conformance check's evaluation of a suite's output."""

import fcntl
import os
import tempfile
import types
import unittest
from pathlib import Path
from unittest import mock

import test as frame
from checks import bench, build, conformance, kunit, leaf, samples, selftest, series, style, unique
from harness import allowances, tap
from harness import kunit as reports
from harness.bench.figures import Figure
from harness.checklib import FAILED, PASSED, SKIPPED, Context, output_of, passed, skipped
from harness.hostlib import Failure
from harness.symbolize import Frame


def module(run, name="unit"):
    made = types.ModuleType(name, "A check.")
    made.run = run
    return made


class Frames(unittest.TestCase):
    def outcomes(self, run):
        return [result.outcome for result in frame.run_check("unit", module(run), Context())]

    def test_no_result_is_a_failure(self):
        self.assertEqual(self.outcomes(lambda context: iter(())), [FAILED])

    def test_exception_keeps_earlier_results(self):
        def run(_context):
            yield passed("first")
            raise Failure("no kernel")

        self.assertEqual(self.outcomes(run), [PASSED, FAILED])

    def test_broken_check(self):
        self.assertEqual(self.outcomes(lambda context: 1 / 0), [FAILED])

    def test_unexpected_skip(self):
        def run(_context):
            yield passed("first")
            yield skipped("second", "no reason")

        self.assertEqual(self.outcomes(run), [PASSED, FAILED])
        # The features that these kernels lack are unknown.
        for other in (Context(arch="um"), Context(objects={"rust": Path("/")}), Context(parts=("second",))):
            results = frame.run_check("unit", module(run), other)
            self.assertEqual([result.outcome for result in results], [PASSED, SKIPPED])

    def test_checks_that_are_not_run(self):
        checks = {name: module(None, name) for name in ("always", "slow", "never")}
        for name in ("slow", "never"):
            checks[name].ON_DEMAND = True
        self.assertIn(": slow, never (", frame.not_run(checks))
        self.assertNotIn("\n", frame.not_run(checks))

    def test_quick(self):
        """Of the kernels in Rust, the one that was linked last."""
        with tempfile.TemporaryDirectory() as temporary:
            base = Path(temporary)
            self.assertEqual({}, frame.last_built(base))
            for age, name in enumerate(("um-c", "um-rust-small", "x86_64-rust", "um-rust")):
                (base / name).mkdir()
                if name != "um-rust":
                    (base / name / "vmlinux").touch()
                    os.utime(base / name / "vmlinux", (1000 - age, 1000 - age))
            self.assertEqual({"rust": base / "um-rust-small"}, frame.last_built(base))
        without = list(leaf.run(Context(impls=("rust",), quick=True)))
        self.assertEqual([result.outcome for result in without], [SKIPPED])
        self.assertFalse(Context(quick=True).usual)

    def test_parts(self):
        checks = {name: module(None, name) for name in ("whole", "parted")}
        checks["parted"].HAS_PARTS = True
        words = ["whole", "parted:one_test", "parted:two_test"]
        self.assertEqual(frame.chosen_checks(words, checks), {"whole": [], "parted": ["one_test", "two_test"]})
        for wrong in ("whole:one_test", "unknown", "unknown:one_test"):
            with self.subTest(wrong), self.assertRaises(Failure):
                frame.chosen_checks([wrong], checks)
        self.assertFalse(Context(parts=("one_test",)).usual)
        suite = {"one_test": Path("/1"), "two_test": Path("/2")}
        self.assertEqual(conformance.chosen_programs(suite, ()), suite)
        self.assertEqual(conformance.chosen_programs(suite, ("two_test",)), {"two_test": Path("/2")})
        with self.assertRaises(Failure):
            conformance.chosen_programs(suite, ("three_test",))

    def test_totals(self):
        self.assertEqual(frame.totals([passed("a"), skipped("b", "c"), passed("d")]), "2 passed, 0 failed, 1 skipped")


class KUnit(unittest.TestCase):
    """A suite that is no longer in the kernel is reported."""

    REPORT = "KTAP version 1\n1..{}\n"
    SUITE = "    KTAP version 1\n    # Subtest: {0}\n    1..1\n    ok 1 case\nok {1} {0}\n"

    def outcomes(self, impl, *names):
        text = self.REPORT.format(len(names)) + "".join(
            self.SUITE.format(name, number + 1) for number, name in enumerate(names))
        report = reports.read(style.tree(), text.splitlines())
        return {result.name: result.outcome for result in kunit.suites(impl, report)}

    def test_all_suites(self):
        own = {"edges", "filter", "hooks", "layout", "merge", "modes", "remote", "set"}
        self.assertEqual(set(kunit.declared()), {f"kcov_{name}" for name in own} | {"kcov_rcu_table"})
        self.assertEqual(set(self.outcomes("rust", *kunit.declared()).values()), {PASSED})

    def test_missing_suite(self):
        missing = [name for name in kunit.declared() if name != "kcov_set"]
        self.assertEqual(self.outcomes("rust", "kcov_set"),
                         {"rust: kcov_set: case": PASSED, **{f"rust: {name}": FAILED for name in missing}})
        self.assertEqual(self.outcomes("c", "kcov_other"), {"c: kcov_other: case": PASSED})


class Build(unittest.TestCase):
    def problems(self, option, contents):
        with tempfile.TemporaryDirectory() as folder:
            obj = Path(folder)
            (obj / "fs").mkdir()
            (obj / ".config").write_text(f"CONFIG_KCOV=y\nCONFIG_KCOV_INSTRUMENT_ALL={option}\n")
            (obj / build.INSTRUMENTED).write_bytes(contents)
            return build.missing_calls(obj)

    def test_kernel_without_calls(self):
        self.assertEqual(self.problems("y", b"\0__sanitizer_cov_trace_pc\0"), [])
        self.assertIn("CFLAGS_KCOV", self.problems("y", b"\0vfs_read\0")[0])
        self.assertEqual(self.problems("n", b"\0vfs_read\0"), [])


class Series(unittest.TestCase):
    """The check needs no author; a person who makes the series needs one (test_tree.py)."""

    def author(self, known):
        with mock.patch.object(series.series, "git_output", return_value=known), mock.patch.dict(
            "os.environ", {"GIT_AUTHOR_NAME": "", "GIT_AUTHOR_EMAIL": ""}
        ):
            return series.author(Path("/"))

    def test_author(self):
        self.assertEqual(self.author(None), series.TESTER)
        self.assertEqual(self.author("A Person")["GIT_AUTHOR_NAME"], "A Person")


class Tools(unittest.TestCase):
    def test_output(self):
        self.assertEqual(output_of(["sh", "-c", "echo out; echo err >&2; exit 3"]), (3, "out\nerr\n"))

    def test_hanging_tool(self):
        """The tool is ended together with the processes that it has started, which hold a lock here."""
        with tempfile.NamedTemporaryFile() as lock:
            script = f"echo begun; flock {lock.name} sleep 1000"
            with self.assertRaisesRegex(Failure, "took more than 1 seconds: begun"):
                output_of(["sh", "-c", script], timeout=1)
            fcntl.flock(lock, fcntl.LOCK_EX)


class Judging(unittest.TestCase):
    KNOWN = {"pc_test:pc.a": "upstream forgets it"}

    def judge(self, impl, outcome, name="pc.a"):
        return conformance.judge(impl, "pc_test", tap.Test(name, outcome), self.KNOWN).outcome

    def test_known_failure_is_excused_for_upstream_only(self):
        self.assertEqual(self.judge("c", tap.FAILED), PASSED)
        self.assertEqual(self.judge("rust", tap.FAILED), FAILED)
        self.assertEqual(self.judge("rust", tap.PASSED), PASSED)

    def test_known_failure_that_passes(self):
        self.assertEqual(self.judge("c", tap.PASSED), FAILED)

    def test_other_test(self):
        self.assertEqual(self.judge("c", tap.FAILED, "pc.b"), FAILED)
        self.assertEqual(self.judge("c", tap.SKIPPED, "pc.b"), SKIPPED)


class Results(unittest.TestCase):
    GOOD = "TAP version 13\n1..2\nok 1 a\nok 2 b\n"

    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.root = Path(place.name)

    def outcomes(self, text, status, unbalanced="2\n2\n"):
        (self.root / "p.tap").write_text(text)
        (self.root / "p.status").write_text(f"{status}\n")
        (self.root / "p.unbalanced").write_text(unbalanced)
        return [result.outcome for result in conformance.program_results("rust", "p", self.root, {})]

    def test_good(self):
        self.assertEqual(self.outcomes(self.GOOD, 0), [PASSED, PASSED])

    def test_died_after_its_last_test(self):
        self.assertEqual(self.outcomes(self.GOOD, 139)[-1], FAILED)

    def test_died_half_way(self):
        self.assertEqual(self.outcomes("TAP version 13\n1..2\nok 1 a\n", 139), [PASSED, FAILED])

    def test_status_of_success_with_a_failure(self):
        self.assertEqual(self.outcomes("TAP version 13\n1..1\nnot ok 1 a\n", 0), [FAILED, FAILED])
        self.assertEqual(self.outcomes("TAP version 13\n1..1\nnot ok 1 a\n", 1), [FAILED])

    def test_no_test(self):
        self.assertEqual(self.outcomes("TAP version 13\n1..0\n", 0), [FAILED])
        self.assertEqual(self.outcomes("", 0), [FAILED])

    def test_whole_program_skipped(self):
        self.assertEqual(self.outcomes("TAP version 13\n1..0 # SKIP not here\n", 4), [SKIPPED])

    def test_section_that_was_not_stopped(self):
        self.assertEqual(self.outcomes(self.GOOD, 0, "2\n3\n"), [PASSED, PASSED, FAILED])
        with mock.patch.object(conformance, "UNBALANCED_PROGRAMS", ("p",)):
            self.assertEqual(self.outcomes(self.GOOD, 0, "2\n3\n"), [PASSED, PASSED])

    def test_unknown_number_of_such_sections(self):
        self.assertEqual(self.outcomes(self.GOOD, 0, ""), [PASSED, PASSED, FAILED])
        self.assertEqual(self.outcomes(self.GOOD, 0, "2\n"), [PASSED, PASSED, FAILED])
        self.assertEqual(conformance.unbalanced("c", "p", self.root), [])

    def test_no_output(self):
        self.assertEqual([result.outcome for result in conformance.program_results("rust", "q", self.root, {})], [FAILED])

    def test_list_of_known_failures(self):
        path = self.root / "list"
        path.write_text("# comment\n\nprogram:fixture.test: it is so\nother.test: so too\n")
        self.assertEqual(conformance.known_failures(path), {"program:fixture.test": "it is so", "other.test": "so too"})
        path.write_text("program:fixture.test\n")
        with self.assertRaisesRegex(Failure, ":1:"):
            conformance.known_failures(path)


class Traces(unittest.TestCase):
    READ = (Frame("ksys_read", "fs/read_write.c", 706),)
    FDGET = (Frame("fdget", "fs/file.c", 1), Frame("ksys_read", "fs/read_write.c", 707))

    def test_equal(self):
        self.assertEqual(samples.difference({"c": [self.READ, self.FDGET], "rust": [self.READ, self.FDGET]}), [])

    def test_other_order(self):
        self.assertEqual(len(samples.difference({"c": [self.READ, self.FDGET], "rust": [self.FDGET, self.READ]})), 2)

    def test_one_more(self):
        self.assertEqual(samples.difference({"c": [self.READ], "rust": [self.READ, self.FDGET]}), ["c has 1 PCs, rust has 2"])


class Style(unittest.TestCase):
    def test_places_of_one_machine(self):
        # Each text contains a mark, because the check also reads this file.
        for marked in (b"see /wo|rk/x", b"http://local|host:80/", b"https://mir|ror.example.org/"):
            text = marked.replace(b"|", b"")
            self.assertTrue(style.MACHINE.search(text), text)
        for text in (b"https://docs.kernel.org/", b"cd /root", b"~/.cache/kcov-linux", b"drivers/work/x"):
            self.assertFalse(style.MACHINE.search(text), text)

    def test_places_of_this_machine(self):
        with tempfile.TemporaryDirectory() as directory:
            place = Path(directory)
            (place / "notes").touch()
            (place / ".profile").touch()
            for text in ("see {}/notes.", "cat '{}/notes/x'", "BUILD={}/notes", "{}/.profile"):
                self.assertTrue(style.names_place_below(place, text.format(place).encode()), text)
            harmless = "{}/nothing|cd {}/|$(TOP){}/notes|${{TOP}}{}/notes|*{}/notes|linux{}/notes|..{}/notes"
            for text in harmless.split("|"):
                self.assertFalse(style.names_place_below(place, text.format(place).encode()), text)
            self.assertFalse(style.names_place_below(place / "absent", f"{place}/absent/x".encode()))

    def test_allowances_have_a_reason_and_a_place(self):
        for entry in allowances.ALLOWANCES:
            self.assertTrue(entry.reason and entry.path and entry.kind)


class Unique(unittest.TestCase):
    def test_names(self):
        found = unique.names()
        sources = [path for path in unique.SOURCES.glob("*.c") if path.stem not in ("unique", "differential")]
        rows = sum(path.read_text().count('\t{ "') for path in sources)
        self.assertEqual(len(found), rows)
        self.assertEqual(len(set(found)), rows)

    def test_program_without_result(self):
        lines = [f"{name} equal 3 2 1" for name in unique.names() if name != "pipe"]
        (problem,) = unique.without_result(lines, "pipe: channels.c:9: no (Success)\npipe-broken: other", "x86_64")
        self.assertEqual(problem, "pipe gave no result\n    pipe: channels.c:9: no (Success)")
        reasons = {"x86_64": {"pipe": "there are none"}}
        with mock.patch.object(unique, "MAY_BE_MISSING", reasons):
            self.assertEqual(list(unique.without_result(lines, "", "x86_64")), [])
            self.assertEqual(len(list(unique.without_result(lines, "", "um"))), 1)


class BenchRules(unittest.TestCase):
    def figures(self, rust):
        return [Figure(name, "instr.", 100, rust) for name, _ in bench.RULES]

    def test_rules_that_hold(self):
        results = list(bench.broken_rules(self.figures(1)))
        self.assertEqual([result.outcome for result in results], [PASSED] * len(bench.RULES))

    def test_rules_that_do_not_hold(self):
        results = list(bench.broken_rules(self.figures(101)))
        self.assertEqual([result.outcome for result in results], [FAILED] * len(bench.RULES))
        self.assertIn("C has 100, Rust 101", results[0].detail)

    def test_a_figure_that_is_missing(self):
        results = list(bench.broken_rules([]))
        self.assertEqual([result.outcome for result in results], [FAILED] * len(bench.RULES))


if __name__ == "__main__":
    unittest.main()


class SelfTest(unittest.TestCase):
    FAILED = "[    1.2] kcov: self test failed: interrupts produced 3 PCs, in these functions:"

    def test_passes(self):
        self.assertEqual(selftest.judge(["[    1.2] kcov: self test passed: interrupts produced no coverage"]), [])

    def test_names_functions(self):
        named = ["[    1.2] kcov:   __hrtimer_rearm_deferred+0x1c/0x90"]
        self.assertEqual(selftest.judge([self.FAILED, *named]), [])

    def test_names_nothing(self):
        self.assertIn("no function is named", selftest.judge([self.FAILED])[0])
        self.assertIn("is not a function", selftest.judge([self.FAILED, "[    1.2] kcov:   0xffffffff81234567"])[0])

    def test_does_not_run(self):
        self.assertIn("neither passed", selftest.judge(["[    1.2] Freeing unused kernel image"])[0])
        records_nothing = "[    1.2] kcov: self test failed: an instrumented function was called, but nothing was recorded"
        self.assertIn("nothing was recorded", selftest.judge([records_nothing])[0])
