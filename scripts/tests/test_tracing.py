# SPDX-License-Identifier: GPL-2.0
"""Tests of the check `tracing`: it fails if hooks are traced, and if nothing is traced."""

import tempfile
import unittest
from pathlib import Path

from checks import tracing
from harness.checklib import FAILED, PASSED

HOOKS = {"__sanitizer_cov_trace_pc"}


class RefusalsTest(unittest.TestCase):
    def test_refused(self):
        self.assertEqual(tracing.refusals("title", {"ksys_read"}, HOOKS).outcome, PASSED)

    def test_taken(self):
        result = tracing.refusals("title", {"ksys_read", *HOOKS}, HOOKS)
        self.assertEqual(result.outcome, FAILED)
        self.assertIn("__sanitizer_cov_trace_pc was accepted", result.detail)

    def test_nothing_taken(self):
        self.assertEqual(tracing.refusals("title", set(), HOOKS).outcome, FAILED)


class TraceTest(unittest.TestCase):
    def test_functions(self):
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "trace")
            path.write_text("# tracer: function\n  pc-7  [000] .....  1.0: ksys_read <-do_syscall_64\n")
            self.assertEqual(tracing.traced(path), {"ksys_read"})


if __name__ == "__main__":
    unittest.main()
