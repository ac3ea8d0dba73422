# SPDX-License-Identifier: GPL-2.0
"""Tests of the evaluation of a kmemleak report."""

import tempfile
import unittest
from pathlib import Path
from typing import List

from harness import kmemleak
from harness.checklib import PASSED


def leak(comm: str, size: int) -> str:
    return (
        f"unreferenced object 0xffff888101493d00 (size {size}):\n"
        f'  comm "{comm}", pid 64, jiffies 4294895994\n'
        "  backtrace (crc b2e6d819):\n"
        "    __kmalloc_cache_noprof+0x25d/0x3f0\n"
    )


PURPOSE = "".join(leak(kmemleak.LEAKER, size) for size in kmemleak.LEAKED_SIZES)


class Leaks(unittest.TestCase):
    def outcomes(self, purpose: str, left: str) -> List[bool]:
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "leaks.purpose").write_text(purpose)
            (Path(name) / "leaks.left").write_text(left)
            return [result.outcome == PASSED for result in kmemleak.judge_results("rust", Path(name))]

    def test_those_on_purpose_are_no_others(self) -> None:
        self.assertEqual(self.outcomes(PURPOSE, PURPOSE), [True, True])

    def test_those_on_purpose_may_come_late(self) -> None:
        self.assertEqual(self.outcomes("", PURPOSE), [True, True])

    def test_most_are_missing(self) -> None:
        self.assertEqual(self.outcomes(leak(kmemleak.LEAKER, 32), ""), [False, True])
        self.assertEqual(self.outcomes(leak(kmemleak.LEAKER, 32), leak(kmemleak.LEAKER, 1024)), [True, True])

    def test_another_leak(self) -> None:
        self.assertEqual(self.outcomes(PURPOSE, PURPOSE + leak("stress", 64)), [True, False])

    def test_no_scan(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            self.assertEqual([result.outcome == PASSED for result in kmemleak.judge_results("rust", Path(name))], [False, False])


if __name__ == "__main__":
    unittest.main()
