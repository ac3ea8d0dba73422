# SPDX-License-Identifier: GPL-2.0
"""
Reads KUnit's report on the console of a kernel with the parser of the kernel's tree.
"""

import importlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Iterator, List, Sequence, Tuple

from .hostlib import die, shown
from .tap import FAILED, PASSED, SKIPPED

FOLDER = "tools/testing/kunit"
# The parser prints the errors of a report among its other output.
ERROR = "[ERROR] Test: "


@dataclass(frozen=True)
class Report:
    # Objects of the class Test of kunit_parser.py.
    suites: Sequence[Any]
    # The problems of the report; empty if it is complete.
    problems: List[str]


def modules(tree: Path) -> Tuple[ModuleType, ModuleType]:
    """Returns the modules of the tree's parser and of its printer."""
    if not (tree / FOLDER / "kunit_parser.py").exists():
        die(f"{shown(tree)} has no {FOLDER}/kunit_parser.py, which reads KUnit's reports; name the tree of the kernel.")
    sys.path.insert(0, str(tree / FOLDER))
    try:
        return importlib.import_module("kunit_parser"), importlib.import_module("kunit_printer")
    finally:
        sys.path.remove(str(tree / FOLDER))


def read(tree: Path, lines: Sequence[str]) -> Report:
    """Reads the report in a console log whose LINES have no time stamps. Other messages of the kernel may be in between."""
    parser, printer = modules(tree)
    said = io.StringIO()
    root = parser.parse_run_tests(lines, printer.Printer(output=said))
    problems = [line.partition(ERROR)[2] for line in said.getvalue().splitlines() if ERROR in line]
    return Report(root.subtests, list(dict.fromkeys(problems)))


def leaves(test: Any, prefix: str = "") -> Iterator[Tuple[str, Any]]:
    """Yields the tests without subtests below a test, with their full names."""
    for below in test.subtests:
        if below.subtests:
            yield from leaves(below, f"{prefix}{below.name}.")
        # A test without a name is a placeholder for one that did not run; the report has a problem for it.
        elif below.name:
            yield prefix + below.name, below


def outcome(test: Any) -> str:
    if not test.ok_status():
        return FAILED
    return SKIPPED if test.status.name == "SKIPPED" else PASSED
