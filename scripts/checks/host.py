# SPDX-License-Identifier: GPL-2.0
"""
The unit tests of the scripts, and the version of Python that the scripts may use.
"""

import ast
import unittest
from typing import Any, Iterator, List

from harness import checklib
from harness.checklib import Context, Result, failed, passed, skipped, verdict
from harness.hostlib import SCRIPTS, TOP

ORDER = 10
QUICK = True

# The oldest Python on which the scripts must run.
LANGUAGE = (3, 9)


class Collector(unittest.TestResult):
    """Converts the results of unittest to ours."""

    def __init__(self) -> None:
        super().__init__()
        self.results: List[Result] = []

    def addSuccess(self, test: unittest.TestCase) -> None:
        self.results.append(passed(test.id()))

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        super().addError(test, err)
        self.results.append(failed(test.id(), self.errors[-1][1]))

    addFailure = addError

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self.results.append(skipped(test.id(), reason))

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        if err is not None:
            self.addError(subtest, err)

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self.results.append(failed(test.id(), "passes, but is marked as an expected failure"))


def each_test(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from each_test(test)
        else:
            yield test


def is_slow(test: unittest.TestCase) -> bool:
    """Returns whether a test has the mark of tests/__init__.py."""
    return bool(getattr(getattr(test, test.id().rpartition(".")[2], None), "slow", False))


def unit_tests(quick: bool = False) -> List[Result]:
    """With QUICK, without those that are slow."""
    directory = SCRIPTS / "tests"
    suite = unittest.defaultTestLoader.discover(str(directory), top_level_dir=str(SCRIPTS))
    if quick:
        suite = unittest.TestSuite(test for test in each_test(suite) if not is_slow(test))
    collector = Collector()
    suite.run(collector)
    return collector.results or [failed("unit tests", f"no test was found in {directory}.")]


def python_syntax() -> Result:
    problems = []
    for path in checklib.project_files():
        if path.suffix == ".py":
            try:
                ast.parse((TOP / path).read_bytes(), str(path), feature_version=LANGUAGE)
            except SyntaxError as error:
                problems.append(f"{path}:{error.lineno}: not Python {LANGUAGE[0]}.{LANGUAGE[1]}: {error.msg}")
    return verdict("Python syntax", problems)


def run(context: Context) -> Iterator[Result]:
    yield python_syntax()
    context.progress("unit tests")
    yield from unit_tests(context.quick)
