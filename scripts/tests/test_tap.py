# SPDX-License-Identifier: GPL-2.0
"""Tests of the reader of TAP."""

import unittest

from harness import tap

HARNESS = """\
TAP version 13
1..4
# Starting 4 tests from 2 test cases.
#  RUN           global.passes ...
#            OK  global.passes
ok 1 global.passes
#  RUN           state.fresh.fails ...
# ioctl_test.c:31:fails:Expected 0 (0) == kcov_disable(fd) (-22)
# fails: Test terminated by assertion
#          FAIL  state.fresh.fails
not ok 2 state.fresh.fails
#  RUN           global.skips ...
#      SKIP      too little memory
#            OK  global.skips
ok 3 global.skips # SKIP too little memory
ok 4 global.last
# FAILED: 3 / 4 tests passed.
# Totals: pass:2 fail:1 xfail:0 xpass:0 skip:1 error:0
"""

def parse(text):
    return tap.parse(text.splitlines())


class Tap(unittest.TestCase):
    def test_harness(self):
        document = parse(HARNESS)
        self.assertEqual(document.problems, [])
        outcomes = {test.name: test.outcome for test in document.tests}
        self.assertEqual(
            outcomes,
            {
                "global.passes": tap.PASSED,
                "state.fresh.fails": tap.FAILED,
                "global.skips": tap.SKIPPED,
                "global.last": tap.PASSED,
            },
        )
        self.assertEqual(document.tests[2].reason, "too little memory")
        self.assertIn("Expected 0 (0)", "\n".join(document.tests[1].diagnostics))

    def test_program_that_dies_half_way(self):
        text = HARNESS[: HARNESS.index("not ok 2")]
        self.assertIn("4 tests were announced, 1 have a result", parse(text).problems)

    def test_empty_output_is_a_problem(self):
        self.assertTrue(parse("").problems)
        self.assertTrue(parse("Segmentation fault\n").problems)

    def test_results_without_a_plan(self):
        self.assertTrue(parse("TAP version 13\nok 1 a\n").problems)

    def test_plan_may_stand_at_the_end(self):
        self.assertEqual(parse("TAP version 13\nok 1 a\nok 2 b\n1..2\n").problems, [])

    def test_missing_number(self):
        problems = parse("TAP version 13\n1..2\nok 1 a\nok 3 b\n").problems
        self.assertEqual(problems, ["result 3 (b) came where number 2 was due"])

    def test_number_twice(self):
        self.assertTrue(parse("TAP version 13\n1..2\nok 1 a\nok 1 b\n").problems)

    def test_bail_out(self):
        self.assertEqual(
            parse("TAP version 13\n1..1\nok 1 a\nBail out! no debugfs\n").problems, ["the program gave up: no debugfs"]
        )

    def test_all_skipped(self):
        document = parse("TAP version 13\n1..0 # SKIP no 32-bit programs here\n")
        self.assertEqual(document.skipped, "no 32-bit programs here")
        self.assertEqual(document.problems, [])

    def test_failed_test_is_not_skipped_by_a_directive(self):
        self.assertEqual(parse("1..1\nnot ok 1 a # SKIP b\n").tests[0].outcome, tap.FAILED)

    def test_two_outputs_mixed(self):
        self.assertTrue(parse("TAP version 13\n1..1\nok 1 a\nTAP version 13\n").problems)


if __name__ == "__main__":
    unittest.main()
