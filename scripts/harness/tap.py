# SPDX-License-Identifier: GPL-2.0
"""
Reads the results of a test program in the format TAP, as the harness of the kernel's selftests writes it.

A document is incomplete until shown otherwise. A missing plan, a missing number or a bail-out is a problem, because a
test program that dies half-way prints nothing about the tests that it did not reach. The tree's parser of KUnit's
reports (see kunit.py) reads TAP too, but accepts output without a plan as complete, and supports neither a plan at the
end nor a reason for a plan of no tests nor a bail-out.
"""

import re
from dataclasses import dataclass, field
from typing import Iterable, List, Optional

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"

VERSION = re.compile(r"K?TAP version \d+$")
PLAN = re.compile(r"1\.\.(\d+)(?:\s*#\s*(?:SKIP\S*)\s*(.*))?$", re.IGNORECASE)
RESULT = re.compile(r"(not )?ok(?: (\d+))?(?:\s+(?:-\s+)?(.*))?$")
DIRECTIVE = re.compile(r"\s*(?<!\\)#\s*(SKIP|TODO|XFAIL|TIMEOUT|ERROR)\b:?\s*(.*)$", re.IGNORECASE)
BAIL_OUT = re.compile(r"Bail out!\s*(.*)$")


@dataclass
class Test:
    name: str
    outcome: str
    # The reason why it was skipped, or other text after the number sign.
    reason: str = ""
    diagnostics: List[str] = field(default_factory=list)


@dataclass
class Document:
    versioned: bool = False
    plan: Optional[int] = None
    # The reason why the whole document was skipped.
    skipped: Optional[str] = None
    tests: List[Test] = field(default_factory=list)
    # The problems of the document; empty if it is complete.
    problems: List[str] = field(default_factory=list)
    # Lines since the last result.
    pending: List[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        plan, result, given_up = PLAN.match(line), RESULT.match(line), BAIL_OUT.match(line)
        if VERSION.match(line):
            if self.versioned or self.tests:
                self.problems.append("a second version line: two outputs are mixed")
            self.versioned = True
        elif plan:
            self._plan(int(plan[1]), plan[2])
        elif result:
            self._result(bool(result[1]), result[2], result[3] or "")
        elif given_up:
            self.problems.append(f"the program gave up: {given_up[1] or 'no reason'}")
        elif line.strip():
            self.pending.append(line.strip())

    def _plan(self, number: int, reason: Optional[str]) -> None:
        if self.plan is not None:
            self.problems.append("there are two plans")
        self.plan = number
        if reason is not None and number == 0:
            self.skipped = reason or "no reason given"

    def _result(self, bad: bool, number: Optional[str], text: str) -> None:
        directive = DIRECTIVE.search(text)
        name = (text[: directive.start()] if directive else text).split(" # ")[0].strip()
        outcome, reason = (FAILED if bad else PASSED), ""
        if directive:
            reason = directive[2].strip()
            if directive[1].upper() == "SKIP" and not bad:
                outcome = SKIPPED
        expected = len(self.tests) + 1
        if number and int(number) != expected:
            self.problems.append(f"result {number} ({name}) came where number {expected} was due")
        self.tests.append(Test(name, outcome, reason, self.pending))
        self.pending = []

    def end(self) -> None:
        if self.plan is None:
            self.problems.append("there is no plan (1..N): the program ended before its first test")
        elif self.skipped is None and len(self.tests) != self.plan:
            self.problems.append(f"{self.plan} tests were announced, {len(self.tests)} have a result")


def parse(lines: Iterable[str]) -> Document:
    document = Document()
    for line in lines:
        document.add(line.rstrip())
    document.end()
    return document
