# SPDX-License-Identifier: GPL-2.0
"""Tests of reading KUnit's reports with the parser of the kernel's tree."""

import unittest
from pathlib import Path

from checks import style
from harness import kunit
from harness.hostlib import Failure
from harness.tap import FAILED, PASSED, SKIPPED

KUNIT = """\
Booting something
KTAP version 1
1..2
    KTAP version 1
    # Subtest: kcov-buffer
    # module: kcov_test
    1..3
    ok 1 positions
random: crng init done
        KTAP version 1
        # Subtest: sizes
        ok 1 one
        not ok 2 two
    # sizes: pass:1 fail:1 skip:0 total:2
    not ok 2 sizes
    # later: EXPECTATION FAILED at kernel/kcov/kcov_test.c:12
    ok 3 later # SKIP no memory
# kcov-buffer: pass:1 fail:1 skip:1 total:3
# Totals: pass:2 fail:1 skip:1 total:4
not ok 1 kcov-buffer
    KTAP version 1
    # Subtest: other
    1..1
    ok 1 thing
ok 2 other
Freeing unused kernel memory
ok 7 this line is not KUnit's
"""


def read(text):
    return kunit.read(style.tree(), text.splitlines())


class KUnit(unittest.TestCase):
    def test_nesting(self):
        report = read(KUNIT)
        self.assertEqual(report.problems, [])
        self.assertEqual([suite.name for suite in report.suites], ["kcov-buffer", "other"])
        outcomes = {
            f"{suite.name}.{name}": kunit.outcome(test) for suite in report.suites for name, test in kunit.leaves(suite)
        }
        self.assertEqual(
            outcomes,
            {
                "kcov-buffer.positions": PASSED,
                "kcov-buffer.sizes.one": PASSED,
                "kcov-buffer.sizes.two": FAILED,
                "kcov-buffer.later": SKIPPED,
                "other.thing": PASSED,
            },
        )

    def test_boot_that_ends_within_a_suite(self):
        text = KUNIT[: KUNIT.index("    not ok 2 sizes")]
        self.assertTrue(read(text).problems)

    def test_suite_with_fewer_results_than_announced(self):
        text = KUNIT.replace("    ok 3 later # SKIP no memory\n", "")
        self.assertIn("kcov-buffer: missing expected subtest!", read(text).problems)

    def test_no_report(self):
        report = read("Booting\ndone\n")
        self.assertTrue(report.problems)
        self.assertEqual(list(report.suites), [])

    def test_what_is_said_about_a_test(self):
        leaves = dict(kunit.leaves(read(KUNIT).suites[0]))
        self.assertEqual(leaves["later"].skip_reason, "no memory")
        self.assertIn("    # later: EXPECTATION FAILED at kernel/kcov/kcov_test.c:12", leaves["later"].log)

    def test_a_tree_without_the_parser(self):
        with self.assertRaisesRegex(Failure, "has no tools/testing/kunit/kunit_parser.py"):
            kunit.read(Path("/nowhere"), [])


if __name__ == "__main__":
    unittest.main()
