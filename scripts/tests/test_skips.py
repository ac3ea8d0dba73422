# SPDX-License-Identifier: GPL-2.0
"""Tests of the list of expected skips."""

import unittest

import test as frame
from harness import skips
from harness.checklib import FAILED, PASSED, SKIPPED, failed, passed, skipped
from harness.skips import Skip

BOTH = ("rust", "c")
LIST = (
    Skip("unit", "p: *", "no tea*", "there is coffee", ("c",)),
    Skip("unit", "q: x", "no cups", "there are mugs", BOTH),
    Skip("unit", "shop", "it is closed", "the hour decides", machine=True),
    Skip("other", "p: *", "no sugar", "it is sweet", BOTH),
)
Q = (skipped("rust: q: x", "no cups"), skipped("c: q: x", "no cups"))
P = skipped("c: p: a", "no tea today")


class Judging(unittest.TestCase):
    def judge(self, *results, impls=BOTH):
        return [(result.name, result.outcome) for result in skips.judge("unit", results, impls, LIST)]

    def outcomes(self, *results, impls=BOTH):
        return [outcome for _, outcome in self.judge(*results, impls=impls)]

    def test_all_that_is_expected(self):
        self.assertEqual(self.outcomes(passed("a"), P, *Q), [PASSED, SKIPPED, SKIPPED, SKIPPED])

    def test_several_for_one_line(self):
        self.assertEqual(self.outcomes(P, skipped("c: p: b", "no tea left"), *Q), [SKIPPED] * 4)

    def test_other_name(self):
        self.assertEqual(self.outcomes(P, *Q, skipped("c: r: a", "no tea")), [SKIPPED] * 3 + [FAILED])

    def test_other_reason(self):
        self.assertEqual(self.outcomes(P, *Q, skipped("c: p: b", "no time")), [SKIPPED] * 3 + [FAILED])

    def test_other_implementation(self):
        self.assertEqual(self.outcomes(P, *Q, skipped("rust: p: a", "no tea")), [SKIPPED] * 3 + [FAILED])

    def test_line_of_another_check(self):
        self.assertEqual(self.outcomes(P, *Q, skipped("c: p: b", "no sugar")), [SKIPPED] * 3 + [FAILED])

    def test_line_without_a_skip(self):
        self.assertEqual(self.judge(passed("c: p: a"), *Q)[3:], [("the expected skip of c: p: *", FAILED)])

    def test_line_without_a_skip_on_one_implementation(self):
        self.assertEqual(self.judge(P, passed("rust: q: x"), Q[1])[3:], [("the expected skip of rust: q: x", FAILED)])

    def test_implementation_that_is_not_tested(self):
        self.assertEqual(self.outcomes(Q[0], impls=("rust",)), [SKIPPED])

    def test_what_depends_on_the_machine(self):
        self.assertEqual(self.outcomes(P, *Q, skipped("shop", "it is closed")), [SKIPPED] * 4)

    def test_check_that_ended_early(self):
        """Such a check has failed already, and may have ended before its skips."""
        self.assertEqual(self.outcomes(failed("could not go on", "no kernel")), [FAILED])


class Lines(unittest.TestCase):
    def test_summary(self):
        self.assertEqual(skips.summary([P, *Q, passed("a")]), ["c: p: a: no tea today", "rust: q: x, c: q: x: no cups"])
        self.assertEqual(skips.summary([P, P, P]), ["c: p: a and 2 more: no tea today"])

    def test_each_has_a_check_and_a_reason(self):
        checks = frame.load_checks()
        for skip in skips.SKIPS:
            self.assertIn(skip.check, checks)
            self.assertFalse(frame.on_demand(checks[skip.check]))
            self.assertTrue(skip.name and skip.said and skip.reason)
            self.assertLessEqual(set(skip.impls), set(BOTH))


if __name__ == "__main__":
    unittest.main()
