# SPDX-License-Identifier: GPL-2.0
"""Tests of the benchmark's output: targets, the table, the picture, a document."""

import json
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock
from xml.etree import ElementTree

import bench
from harness.bench import figures, native_sections, plot
from harness.bench.figures import IMPLS, Figure
from harness.hostlib import RESULTS_BEGIN, RESULTS_END, Failure

# A container or cpuset need not have the first CPU.
CPU = min(os.sched_getaffinity(0))


class Targets(unittest.TestCase):
    def test_ratio(self):
        name = "hooks.trace_pc.off.minimum"
        self.assertIs(Figure(name, "ticks", 4.0, 3.2).met, True)
        self.assertIs(Figure(name, "ticks", 4.0, 3.3).met, False)
        # Rounded as in the table.
        self.assertIs(Figure(name, "ticks", 4.0, 3.219).met, True)

    def test_the_value_itself(self):
        name = "hooks.trace_pc.idle.against_empty"
        self.assertIs(Figure(name, "x empty", 1.57, 1.10).met, True)
        self.assertIs(Figure(name, "x empty", 1.0, 1.2).met, False)

    def test_at_least(self):
        name = "remote.hit.64.throughput_of_2cpus"
        self.assertIs(Figure(name, "x", 1.0, 1.9).met, True)
        self.assertIs(Figure(name, "x", 1.0, 1.8).met, False)

    def test_switch_has_targets_of_its_own(self):
        self.assertEqual(figures.target_of("hooks.switch16.off.minimum").limit, 0.15)
        self.assertEqual(figures.target_of("hooks.switch4.off.minimum").limit, 0.80)
        self.assertIsNone(figures.target_of("hooks.switch4.off.median"))

    def test_nothing_against_nothing(self):
        self.assertEqual(Figure("size.x", "KiB", 0, 0).ratio, 1)
        self.assertIsNone(Figure("size.x", "KiB", 0, 5).ratio)
        self.assertIs(Figure("size.kept_after_last_user", "KiB", 0, 5).met, False)

    def test_values_that_are_none(self):
        with self.assertRaises(ValueError):
            figures.pair("x", "ticks", {"c": float("nan"), "rust": 1})


FIGURES = [
    Figure("hooks.trace_pc.off.minimum", "ticks", 4.0, 2.0),
    Figure("hooks.trace_pc.off.median", "ticks", 4.1, 2.0),
    Figure("size.text", "bytes", 1000, 2000),
    Figure("size.kept_after_last_user", "KiB", 0, 5),
]


class Output(unittest.TestCase):
    def test_table(self):
        lines = figures.table(FIGURES)
        self.assertRegex(lines[2], r"^hooks\.trace_pc\.off\.minimum +ticks +4\.00 +2\.00 +0\.50 +ratio <= 0\.80 +met$")
        self.assertIn("", lines)
        self.assertTrue(next(line for line in lines if line.startswith("size.text")).endswith("MISSED"))

    def test_json(self):
        read = json.loads(figures.as_json(FIGURES))
        self.assertEqual(
            read["size.text"], {"c": 1000, "rust": 2000, "ratio": 2.0, "target": "ratio <= 1.50", "unit": "bytes"}
        )
        self.assertEqual(figures.from_json(figures.as_json(FIGURES)), FIGURES)

    def test_picture(self):
        root = ElementTree.fromstring(plot.draw(FIGURES, "a < b").encode())
        texts = [element.text for element in root.iter() if element.tag.endswith("}text")]
        self.assertIn("a < b", texts)
        self.assertIn("size.text", texts)
        # Noise, and figures without a ratio, are left out.
        self.assertNotIn("hooks.trace_pc.off.median", texts)
        self.assertNotIn("size.kept_after_last_user", texts)
        fills = [element.get("fill") for element in root.iter() if element.tag.endswith("}rect")]
        self.assertIn(plot.COLOURS[True], fills)
        self.assertIn(plot.COLOURS[False], fills)

    def test_axis(self):
        self.assertLess(plot.position(0.5), plot.position(1))
        self.assertEqual(plot.position(1000), plot.LABEL + plot.CHART)
        self.assertEqual(plot.position(0.0001), plot.LABEL)


class Command(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.root = Path(place.name)
        self.addCleanup(place.cleanup)
        self.script = bench

    def test_document(self):
        path = self.root / "benchmarks.md"
        path.write_text(f"before\n{RESULTS_BEGIN}\nold\n{RESULTS_END}\nafter\n")
        self.script.document(path, FIGURES, self.script.PARTS)
        text = path.read_text()
        self.assertTrue(text.startswith("before\n") and text.endswith("\nafter\n"))
        self.assertNotIn("old", text)
        self.assertIn("| size.text | bytes | 1000 | 2000 | 2.00 | ratio <= 1.50 | MISSED |", text)
        self.assertIn("size.text", (self.root / "benchmarks.svg").read_text())
        path.write_text("no marks")
        with self.assertRaises(Failure):
            self.script.document(path, FIGURES, self.script.PARTS)

    def test_document_of_a_part(self):
        """Results of parts that were not measured stay, with the machine on which they were measured."""
        path = self.root / "benchmarks.md"
        path.write_text(f"{RESULTS_BEGIN}\n{RESULTS_END}\n")
        with mock.patch.object(self.script, "machine", return_value="a machine"):
            self.script.document(path, FIGURES + [Figure("calls.x.native", "ns", 3, 3)], self.script.PARTS)
        found = [Figure("calls.y.native", "ns", 1, 2)]
        with mock.patch.object(self.script, "machine", return_value="another"):
            self.script.document(path, found, ["native"])
        text = path.read_text()
        self.assertIn("a machine\n", text)
        self.assertNotIn("another", text)
        self.assertEqual(
            figures.from_rows(text.splitlines()),
            FIGURES[:2] + found + FIGURES[2:],
        )

    def test_unequal_kernels(self):
        for impl, more in (("c", "CONFIG_KCOV_C=y\n"), ("rust", "CONFIG_KCOV_RUST=y\nCONFIG_SMP=y\n")):
            (self.root / impl).mkdir()
            (self.root / impl / ".config").write_text("CONFIG_NET=y\n" + more)
        objs = {impl: self.root / impl for impl in IMPLS}
        self.assertEqual(self.script.different_options(objs), ["CONFIG_SMP=y"])

    def test_one_failed_measurement(self):
        """The other measurements run all the same, and the failure is reported."""
        objs = dict.fromkeys(IMPLS, self.root)
        with mock.patch.object(self.script.size, "object_figures", side_effect=Failure("no objdump")), mock.patch.object(
            self.script, "measure_counting", return_value=[Figure("size.handle", "bytes", 1, 1)]
        ), mock.patch("sys.stdout"):
            found, failures = self.script.measure(objs, ["size"], 0, True)
        self.assertEqual([figure.name for figure in found], ["size.handle"])
        self.assertEqual(failures, ["code and data: no objdump"])

    def test_one_cpu(self):
        """A short run leaves out the measurements that need two CPUs; in a full run they count as missing."""
        objs = dict.fromkeys(IMPLS, self.root)
        with mock.patch.object(native_sections.os, "sched_getaffinity", return_value={CPU}), mock.patch.object(
            self.script, "measure_counting", return_value=[]
        ), mock.patch.object(self.script, "measure_timed", return_value=[]), mock.patch("sys.stdout"):
            self.assertEqual(self.script.measure(objs, ["remote"], CPU, True), ([], []))
            _, failures = self.script.measure(objs, ["remote"], CPU, False)
        self.assertEqual(failures, ["sections at native speed: they need two CPUs, and there is one."])

    def test_objects_that_are_none(self):
        for given in ("x", "go=/tmp", f"c={self.root}"):
            with self.subTest(given=given), self.assertRaises(Failure):
                self.script.object_directories([given])


if __name__ == "__main__":
    unittest.main()
