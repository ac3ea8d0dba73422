# SPDX-License-Identifier: GPL-2.0
"""Tests of the matrix: its cells, and their stored results."""

import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import matrix
from harness.arch import ARCHITECTURES
from harness.cells import CELLS, Cell, Forbidden, values
from harness.checklib import FAILED, PASSED, passed, skipped
from harness.hostlib import RESULTS_BEGIN, RESULTS_END, SCRIPTS, Failure

NO = Forbidden("no", "no", "KASAN=y", file="init/Kconfig", line="depends on !KASAN", option="RUST")


class Cells(unittest.TestCase):
    def test_names_are_unique(self) -> None:
        names = [cell.name for cell in CELLS]
        self.assertEqual(len(names), len(set(names)))

    def test_cells_name_what_exists(self) -> None:
        for cell in CELLS:
            self.assertIn(cell.arch, ARCHITECTURES)
            for check in cell.checks:
                self.assertTrue((SCRIPTS / "checks" / f"{check}.py").exists(), f"{cell.name}: {check}")
            if isinstance(cell, Forbidden):
                self.assertTrue(cell.file and cell.line, cell.name)

    def test_options_become_a_fragment(self) -> None:
        cell = Cell("x", "x", "PREEMPT=y NR_CPUS=4 SMP=n")
        self.assertEqual(values(cell), {"CONFIG_PREEMPT": "y", "CONFIG_NR_CPUS": "4", "CONFIG_SMP": "n"})

    def test_programs_that_they_exist_for(self) -> None:
        cell = Cell("x", "x", unskipped=("radio_test",))
        of_it, of_another = skipped("rust: radio_test: radio.up", "no radio"), skipped("rust: pc_test: pc.one", "why")
        self.assertEqual(FAILED, matrix.judged(cell, of_it).outcome)
        self.assertIn("no radio", matrix.judged(cell, of_it).detail)
        self.assertEqual(of_another, matrix.judged(cell, of_another))
        self.assertEqual(PASSED, matrix.judged(cell, passed("rust: radio_test: radio.up")).outcome)
        suite = (SCRIPTS.parent / "tools/testing/selftests/kcov/Makefile").read_text(encoding="utf-8").split()
        for known in CELLS:
            self.assertLessEqual(set(known.unskipped), set(suite), known.name)

    def test_each_has_its_kernel(self) -> None:
        with tempfile.TemporaryDirectory() as place, mock.patch.object(matrix, "STATE", Path(place)), mock.patch.dict(
            os.environ, KCOV_BINDGEN="0.99.9"
        ):
            kernels = {cell.name: matrix.kernel_of(cell) for cell in CELLS}
        self.assertEqual(len(CELLS), len({built.objects for built in kernels.values()}))
        for cell in CELLS:
            self.assertEqual(cell.bindgen, kernels[cell.name].bindgen)
        self.assertEqual("x86_64-rust-matrix-bindgen-newest", kernels["bindgen-newest"].objects.name)

    def test_what_they_need_is_set_up(self) -> None:
        cells = [Cell("a", "a", llvm="gcc"), Cell("b", "b", llvm="-19", bindgen="0.71.1"), Cell("c", "c", arch="arm64")]
        cells.append(Cell("d", "d", series="7.2"))
        self.assertEqual(["arm64", "bindgen-0.71.1", "clang-19", "linux-7.2"], matrix.setup_parts(cells))


class Memory(unittest.TestCase):
    def setUp(self) -> None:
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.place = Path(place.name)
        for patch in (
            mock.patch.object(matrix, "STATE", self.place),
            mock.patch.object(matrix, "kernel_of", return_value=mock.Mock(objects=self.place / "objects")),
            mock.patch.object(matrix, "tools", return_value=["cc", "rustc"]),
            mock.patch.object(matrix, "say"),
        ):
            patch.start()
            self.addCleanup(patch.stop)

    def run_cell(self, outcome: str, label: str = "one", again: bool = False) -> int:
        """Runs a cell; returns the number of times that it really ran."""
        with mock.patch.object(matrix, "run_checks", return_value=(outcome, "")) as checks, mock.patch.object(
            matrix, "label_of", return_value=label
        ):
            matrix.run_cell(Cell("x", "x"), again)
        return int(checks.call_count)

    def test_green_is_kept(self) -> None:
        self.assertEqual(self.run_cell(matrix.GREEN), 1)
        self.assertEqual(self.run_cell(matrix.GREEN), 0)
        self.assertEqual(self.run_cell(matrix.GREEN, again=True), 1)

    def test_red_and_changed_run_again(self) -> None:
        self.assertEqual(self.run_cell(matrix.RED), 1)
        self.assertEqual(self.run_cell(matrix.GREEN), 1)
        self.assertEqual(self.run_cell(matrix.GREEN, label="two"), 1)

    def test_a_build_that_fails_is_red(self) -> None:
        with mock.patch.object(matrix, "run_checks", side_effect=Failure("no")), mock.patch.object(
            matrix, "label_of", return_value="one"
        ):
            self.assertEqual(matrix.run_cell(Cell("x", "x"), False)["outcome"], matrix.RED)


class Document(unittest.TestCase):
    def setUp(self) -> None:
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.path = Path(place.name) / "matrix.md"
        cells = [Cell("a", "A"), Cell("b", "B"), Cell("c", "C")]
        known = {
            "outcome": matrix.GREEN,
            "seconds": 61,
            "date": "2026-01-02",
            "said": "x|y\nmore",
            "tools": ["Debian clang version 22.1.8 (1)", "rustc 1.95.0", "bindgen 0.72.1"],
        }
        for patch in (
            mock.patch.object(matrix, "CELLS", cells),
            mock.patch.object(matrix, "remembered", lambda cell: known if cell.name == "b" else {}),
        ):
            patch.start()
            self.addCleanup(patch.stop)

    def test_rows_of_other_machines_stay(self) -> None:
        earlier = "| a | A | green | 9:59 | 2025-01-02 | clang 1.2.3 | `p \\| q` |"
        self.path.write_text(f"before\n{RESULTS_BEGIN}\n\n{earlier}\n| gone | | | | | | |\n\n{RESULTS_END}\nafter\n")
        matrix.document(self.path)
        lines = self.path.read_text().splitlines()
        self.assertEqual((lines[0], lines[-1]), ("before", "after"))
        rows = [line for line in lines if line.startswith("| ")][2:]
        self.assertEqual(rows[0], earlier)
        self.assertEqual(rows[1], "| b | B | green | 1:01 | 2026-01-02 | clang 22.1.8, rustc 1.95.0, bindgen 0.72.1 | x\\|y |")
        self.assertTrue(rows[2].startswith("| c | C | not run yet |"), rows[2])
        self.assertEqual(len(rows), 3)

    def test_a_document_without_a_place_is_refused(self) -> None:
        self.path.write_text("nothing\n")
        with self.assertRaisesRegex(Failure, "has no lines"):
            matrix.document(self.path)
        self.assertEqual(self.path.read_text(), "nothing\n")

    def test_versions(self) -> None:
        self.assertEqual(matrix.versions(["gcc (Debian 12.2.0-14) 12.2.0", "no rustc"]), "gcc 12.2.0")


class Refusals(unittest.TestCase):
    def refuse(self, text: str, failure: str) -> str:
        with tempfile.TemporaryDirectory() as place:
            (Path(place) / "init").mkdir()
            (Path(place) / "init/Kconfig").write_text(text, encoding="utf-8")
            effect = Failure(failure) if failure else None
            with mock.patch("matrix.kernel.prepare_tree", return_value=Path(place)), mock.patch(
                "matrix.kernel.configure", side_effect=effect
            ):
                return matrix.run_forbidden(NO, mock.Mock())[1]

    def test_names_the_line(self) -> None:
        said = self.refuse(
            "config A\n\tdepends on !KASAN\nconfig RUST\n\tdepends on !KASAN\n",
            "the tree's Kconfig did not take CONFIG_KASAN=y (is n)",
        )
        self.assertEqual(said, "init/Kconfig:4: `depends on !KASAN`")

    def test_the_line_has_to_exist(self) -> None:
        with self.assertRaisesRegex(Failure, "no line"):
            self.refuse("config RUST\n", "the tree's Kconfig did not take CONFIG_KASAN=y (is n)")

    def test_the_tree_has_to_refuse(self) -> None:
        with self.assertRaisesRegex(Failure, "takes this configuration"):
            self.refuse("config RUST\ndepends on !KASAN\n", "")

    def test_it_has_to_refuse_that_option(self) -> None:
        with self.assertRaisesRegex(Failure, "CONFIG_NET"):
            self.refuse("config RUST\ndepends on !KASAN\n", "the tree's Kconfig did not take CONFIG_NET=y (is n)")

    def test_a_machine_without_rust_forbids_nothing(self) -> None:
        with self.assertRaisesRegex(Failure, "bindgen"):
            self.refuse(
                "config RUST\ndepends on !KASAN\n",
                "the tree's Kconfig did not take CONFIG_RUST=y (is n); Rust is not available: no bindgen",
            )


if __name__ == "__main__":
    unittest.main()
