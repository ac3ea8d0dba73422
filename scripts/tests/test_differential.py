# SPDX-License-Identifier: GPL-2.0
"""Tests of the comparison of traces: it finds modified traces, and ignores noise."""

import struct
import tempfile
import unittest
from array import array
from pathlib import Path

from checks import differential
from harness.hostlib import Failure

IMPLS = ("c", "rust")
POINTER = 0xFFFF888012345678
# The recorded type of a comparison of an 8-byte word with a constant.
CONST8 = 7


def symbols(base):
    """Returns names that do not depend on the address of the kernel's code."""
    return lambda pc: f"function_{(pc - base) // 16} fs/file.c:{(pc - base) % 16}:1"


def pcs(base, *offsets):
    return array("Q", [base + offset for offset in offsets])


def records(base, *rows):
    return array("Q", [word for kind, one, other, offset in rows for word in (kind, one, other, base + offset)])


def ignorance(*entries):
    return differential.Ignorance([differential.Ignored(kind, pattern, "a reason") for kind, pattern in entries])


class Traces(unittest.TestCase):
    def outcome(self, mode, left, right, ignored=None):
        """Compares traces of two kernels whose code has different addresses."""
        ignored = ignored or ignorance()
        group = differential.pc_groups if mode == "pc" else differential.cmp_groups
        sides = [group(traces, symbols(base), ignored) for traces, base in ((left, 0x1000), (right, 0x9000))]
        return differential.compare(IMPLS, *sides, ignored)

    def pc(self, left, right, ignored=None):
        return self.outcome(
            "pc", [pcs(0x1000, *offsets) for offsets in left], [pcs(0x9000, *offsets) for offsets in right], ignored
        )

    def cmp(self, left, right, ignored=None):
        return self.outcome(
            "cmp", [records(0x1000, *rows) for rows in left], [records(0x9000, *rows) for rows in right], ignored
        )


class Sequences(Traces):
    def test_equal_by_symbol(self):
        result = self.pc([(1, 20, 3)] * 3, [(1, 20, 3)] * 2)
        self.assertEqual((result.difference, result.records), ([], 3))

    def test_missing_record(self):
        result = self.pc([(1, 20, 3)] * 3, [(1, 3)] * 3)
        self.assertTrue(any(line.startswith("-function_1 fs/file.c:4:1") for line in result.difference), result.difference)

    def test_added_record(self):
        self.assertTrue(self.pc([(1, 3)] * 3, [(1, 3, 3)] * 3).difference)

    def test_order(self):
        self.assertTrue(self.pc([(1, 20, 3)] * 3, [(20, 1, 3)] * 3).difference)

    def test_another_place_in_the_function(self):
        self.assertTrue(self.pc([(1, 2)] * 3, [(1, 3)] * 3).difference)

    def test_noise(self):
        noisy = [(1, 20, 3), (1, 99, 20, 3), (1, 20, 3), (1, 20, 98, 3)]
        self.assertEqual(self.pc(noisy, noisy[::-1]).difference, [])

    def test_only_noise(self):
        result = self.pc([(1, 20), (1, 21)], [(1, 20)] * 2)
        self.assertIn("none of 2 repetitions", result.difference[0])

    def test_one_common_trace_that_is_chance(self):
        self.assertTrue(self.pc([(1, 20), (1, 2), (1, 2)], [(1, 20)] * 3).difference)

    def test_no_trace(self):
        self.assertTrue(self.pc([], [(1, 2)] * 2).difference)

    def test_long_traces(self):
        left, right = list(range(20000)), list(range(20000))
        del right[15000]
        result = self.pc([left] * 2, [right] * 2)
        self.assertIn("they part at record 15001", result.difference[0])
        self.assertLessEqual(len(result.difference), differential.SHOWN_LINES + 1)


class Counts(Traces):
    def counts(self, left, right):
        groups = [
            differential.pc_groups([pcs(base, *offsets) for offsets in traces], symbols(base), ignorance())
            for traces, base in ((left, 0x1000), (right, 0x9000))
        ]
        return differential.compare_counts(IMPLS, *groups)

    def test_noise_and_order(self):
        result = self.counts([(1, 2, 3), (1, 3, 2, 9)], [(3, 1, 7, 2), (2, 1, 3, 8)])
        self.assertEqual((result.difference, result.records), ([], 3))

    def test_missing(self):
        result = self.counts([(1, 2, 3), (1, 3, 2, 9)], [(3, 1), (3, 1, 9)])
        self.assertEqual(len(result.difference), 1)
        self.assertIn("c records it 1 times or more, rust 0 times at most", result.difference[0])

    def test_added(self):
        self.assertIn("rust records it 2 times or more", self.counts([(1, 2)] * 2, [(1, 2, 2)] * 2).difference[0])

    def test_no_trace(self):
        self.assertTrue(self.counts([], [(1,)]).difference)

    def test_only_where_it_is_asked_for(self):
        ignored = ignorance(("order", "fork"))
        self.assertTrue(ignored.covers("order", "fork"))
        self.assertFalse(ignored.covers("order", "fork-bomb"))
        self.assertFalse(ignored.covers("place", "fork kernel/fork.c:1:1"))


class Comparisons(Traces):
    ROWS = ((CONST8, 5, 6, 1), (6, POINTER, POINTER + 64, 20), (0, 1, 2, 3))

    def changed(self, **words):
        rows = [list(row) for row in self.ROWS]
        for name, value in words.items():
            index, word = int(name[1]), int(name[3])
            rows[index][word] = value
        return tuple(tuple(row) for row in rows)

    def test_equal(self):
        result = self.cmp([self.ROWS] * 3, [self.ROWS] * 3)
        self.assertEqual((result.difference, result.operands), ([], 6))

    def test_pointers_are_of_one_kind(self):
        self.assertEqual(self.cmp([self.ROWS] * 3, [self.changed(r1w1=POINTER + 0x1000)] * 3).difference, [])

    def test_pointer_and_number(self):
        self.assertTrue(self.cmp([self.ROWS] * 3, [self.changed(r1w1=0x12345678)] * 3).difference)

    def test_error_numbers_are_no_pointers(self):
        rows = self.changed(r1w1=(1 << 64) - 22)
        self.assertTrue(self.cmp([rows] * 3, [self.changed(r1w1=(1 << 64) - 14)] * 3).difference)

    def test_operand(self):
        result = self.cmp([self.ROWS] * 3, [self.changed(r0w2=7)] * 3)
        expected = "c compares 0x5 and 0x6 1 times or more, rust 0 times at most (rust has: 0x5 and 0x7)"
        self.assertIn(expected, result.difference[0])

    def test_operands_swapped(self):
        self.assertEqual(len(self.cmp([self.ROWS] * 3, [self.changed(r0w1=6, r0w2=5)] * 3).difference), 2)

    def test_operand_that_is_cut_off(self):
        rows = self.changed(r0w1=0x1234567890)
        self.assertTrue(self.cmp([rows] * 3, [self.changed(r0w1=0x34567890)] * 3).difference)

    def test_type(self):
        self.assertTrue(self.cmp([self.ROWS] * 3, [self.changed(r0w0=6)] * 3).difference)
        self.assertTrue(self.cmp([self.ROWS] * 3, [self.changed(r0w0=5)] * 3).difference)

    def test_place(self):
        self.assertTrue(self.cmp([self.ROWS] * 3, [self.changed(r0w3=2)] * 3).difference)

    def test_what_varies_is_not_compared(self):
        left = [self.changed(r2w1=number) for number in (10, 11, 12)]
        right = [self.changed(r2w1=number) for number in (70, 71, 72)]
        result = self.cmp(left, right)
        self.assertEqual((result.difference, result.operands), ([], 4))

    def test_what_differs_between_boots_is_not_compared(self):
        # Two boots of each kernel, whose repetitions are alike, and one trace that both kernels share.
        left = [self.changed(r2w1=10)] * 3 + [self.changed(r2w1=20)[::-1]] * 3
        right = [self.changed(r2w1=30)] * 3 + [self.changed(r2w1=40)[::-1]] * 3
        self.assertEqual(self.cmp(left, right).difference, [])


class Exceptions(Traces):
    def test_place(self):
        ignored = ignorance(("place", "function_1"))
        self.assertEqual(self.pc([(1, 20, 3)] * 3, [(1, 3)] * 3, ignored).difference, [])
        self.assertEqual(ignored.unused(), [])

    def test_whole_names_only(self):
        self.assertTrue(self.pc([(1, 20 * 16, 3)] * 3, [(1, 3)] * 3, ignorance(("place", "function_2"))).difference)

    def test_pattern(self):
        self.assertEqual(self.pc([(1, 20 * 16, 3)] * 3, [(1, 3)] * 3, ignorance(("place", "function_2*"))).difference, [])

    def test_inlined(self):
        ignored = ignorance(("place", "outer"))
        self.assertTrue(ignored.covers("place", "inner fs/a.c:1:1 < outer fs/b.c:2:1"))
        self.assertFalse(ignored.covers("place", "inner fs/a.c:1:1 < outermost fs/b.c:2:1"))

    def test_operands(self):
        rows, other = ((CONST8, 5, 6, 1), (0, 1, 2, 20)), ((CONST8, 5, 6, 1), (0, 1, 3, 20))
        self.assertTrue(self.cmp([rows] * 3, [other] * 3).difference)
        self.assertEqual(self.cmp([rows] * 3, [other] * 3, ignorance(("operands", "function_1"))).difference, [])
        # The operands are ignored, but both kernels must still make the comparison.
        self.assertTrue(self.cmp([rows] * 3, [rows[:1]] * 3, ignorance(("operands", "function_1"))).difference)

    def test_unused_line(self):
        ignored = ignorance(("place", "nowhere"))
        self.pc([(1, 2)] * 3, [(1, 2)] * 3, ignored)
        self.assertEqual(len(ignored.unused()), 1)

    def test_unused_line_for_what_is_rare(self):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write("place? nowhere: now and then\nplace elsewhere: each time\nplace function_0: each time\n")
            file.flush()
            ignored = differential.Ignorance.read(Path(file.name))
        self.pc([(1, 2)] * 3, [(1, 2)] * 3, ignored)
        self.assertEqual(ignored.unused(), ["place elsewhere: each time"])

    def test_reason_is_needed(self):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write("place function\n")
            file.flush()
            with self.assertRaises(Failure):
                differential.Ignorance.read(Path(file.name))

    def test_own_list(self):
        for path in differential.IGNORED.parent.glob("ignored*.txt"):
            self.assertTrue(all(entry.reason for entry in differential.Ignorance.read(path).entries))


class Files(unittest.TestCase):
    def read(self, words, *numbers):
        with tempfile.NamedTemporaryFile() as file:
            file.write(struct.pack(f"={len(numbers)}Q", *numbers))
            file.flush()
            return [list(trace) for trace in differential.read_traces(Path(file.name), words)]

    def test_traces(self):
        self.assertEqual(self.read(1, 2, 10, 11, 1, 12), [[10, 11], [12]])
        self.assertEqual(self.read(4, 1, 6, 1, 2, 77), [[6, 1, 2, 77]])

    def test_cut_off(self):
        with self.assertRaises(Failure):
            self.read(1, 3, 10, 11)

    def test_empty_trace(self):
        with self.assertRaises(Failure):
            self.read(1, 0)


class Configuration(unittest.TestCase):
    def test_choice(self):
        left = {"CONFIG_KCOV": "y", "CONFIG_KCOV_C": "y", "CONFIG_KCOV_RUST": "n"}
        right = {"CONFIG_KCOV": "y", "CONFIG_KCOV_RUST": "y", "CONFIG_KCOV_KUNIT_TEST": "y"}
        self.assertEqual(differential.different_options(left, right), [])

    def test_difference(self):
        self.assertEqual(differential.different_options({"CONFIG_KASAN": "y"}, {}), ["CONFIG_KASAN: y and n"])


if __name__ == "__main__":
    unittest.main()
