# SPDX-License-Identifier: GPL-2.0
"""
Reads test results in the formats TAP and KTAP: what a selftest prints, and what KUnit writes to the console.

A document is incomplete until shown otherwise: a missing plan, a missing number or a bail-out is a problem, since
a test program that dies half-way says nothing at all about the tests that it did not reach.
"""

import re
from dataclasses import dataclass, field
from typing import Iterator, List, Optional, Sequence, Tuple

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"

VERSION = re.compile(r"K?TAP version \d+$")
PLAN = re.compile(r"1\.\.(\d+)(?:\s*#\s*(?:SKIP\S*)\s*(.*))?$", re.IGNORECASE)
RESULT = re.compile(r"(not )?ok(?: (\d+))?(?:\s+(?:-\s+)?(.*))?$")
DIRECTIVE = re.compile(r"\s*(?<!\\)#\s*(SKIP|TODO|XFAIL|TIMEOUT|ERROR)\b:?\s*(.*)$", re.IGNORECASE)
SUBTEST = re.compile(r"# Subtest: (.*)$")
BAIL_OUT = re.compile(r"Bail out!\s*(.*)$")


@dataclass
class Test:
    name: str
    outcome: str
    # Why it was skipped, or what else stands behind the number sign.
    reason: str = ""
    diagnostics: List[str] = field(default_factory=list)
    subtests: "Optional[Document]" = None


@dataclass
class Document:
    """The results between one version line (or the beginning) and the end, without the results nested in them."""

    indent: int = 0
    name: str = ""
    versioned: bool = False
    plan: Optional[int] = None
    # Why the whole document was skipped.
    skipped: Optional[str] = None
    tests: List[Test] = field(default_factory=list)
    problems: List[str] = field(default_factory=list)
    # Lines after the last result.
    rest: List[str] = field(default_factory=list)

    def leaves(self, prefix: str = "") -> Iterator[Tuple[str, Test]]:
        """Each test without tests below it, with its full name."""
        for test in self.tests:
            if test.subtests and test.subtests.tests:
                yield from test.subtests.leaves(f"{prefix}{test.name}.")
            else:
                yield prefix + test.name, test

    def all_problems(self) -> List[str]:
        """What is wrong with this document and those below it; empty if it is complete."""
        found = list(self.problems)
        for test in self.tests:
            if test.subtests:
                found += [f"{test.name}: {problem}" for problem in test.subtests.all_problems()]
        return found

    def close(self, needs_plan: bool) -> None:
        if self.plan is None:
            if needs_plan:
                self.problems.append("there is no plan (1..N): the program ended before its first test")
        elif self.skipped is None and len(self.tests) != self.plan:
            self.problems.append(f"{self.plan} tests were announced, {len(self.tests)} have a result")


class Reader:
    """Takes lines one by one. Documents within documents are told by their indentation."""

    def __init__(self) -> None:
        self.open: List[Document] = [Document()]
        self.complete: Optional[Document] = None
        self.pending: List[str] = []
        self.bailed_out = False

    def line(self, line: str) -> None:
        body = line.strip()
        indent = len(line) - len(line.lstrip(" "))
        if VERSION.match(body):
            self._version(indent)
        elif SUBTEST.match(body):
            if self.open[-1].indent == indent:
                self.open[-1].name = SUBTEST.match(body)[1]  # type: ignore[index]
        elif PLAN.match(body) and self._document(indent):
            self._plan(PLAN.match(body), indent)  # type: ignore[arg-type]
        elif RESULT.match(body) and self._document(indent):
            self._result(RESULT.match(body), indent)  # type: ignore[arg-type]
        elif BAIL_OUT.match(body):
            self.open[0].problems.append(f"the program gave up: {BAIL_OUT.match(body)[1] or 'no reason'}")  # type: ignore[index]
        elif body:
            self.pending.append(body)

    def end(self) -> Document:
        self._close_below(0)
        document = self.open[0]
        document.rest = self.pending
        document.close(needs_plan=True)
        return document

    def _document(self, indent: int) -> Optional[Document]:
        return next((document for document in self.open if document.indent == indent), None)

    def _version(self, indent: int) -> None:
        if indent == 0:
            if self.open[0].versioned or self.open[0].tests:
                self.open[0].problems.append("a second version line: two outputs are mixed")
            self.open[0].versioned = True
            return
        self._close_below(indent - 1)
        self.open.append(Document(indent=indent, versioned=True))

    def _plan(self, match: "re.Match[str]", indent: int) -> None:
        document = self._document(indent)
        assert document
        if document.plan is not None:
            document.problems.append("there are two plans")
        document.plan = int(match[1])
        if match[2] is not None and document.plan == 0:
            document.skipped = match[2] or "no reason given"

    def _result(self, match: "re.Match[str]", indent: int) -> None:
        below = self._close_below(indent)
        document = self.open[-1]
        text = match[3] or ""
        directive = DIRECTIVE.search(text)
        name = (text[: directive.start()] if directive else text).split(" # ")[0].strip()
        outcome, reason = (FAILED if match[1] else PASSED), ""
        if directive:
            reason = directive[2].strip()
            if directive[1].upper() == "SKIP" and not match[1]:
                outcome = SKIPPED
        expected = len(document.tests) + 1
        if match[2] and int(match[2]) != expected:
            document.problems.append(f"result {match[2]} ({name}) came where number {expected} was due")
        document.tests.append(Test(name, outcome, reason, self.pending, below))
        self.pending = []

    def _close_below(self, indent: int) -> Optional[Document]:
        """Closes the documents deeper than INDENT and gives the outermost of them."""
        closed = None
        while len(self.open) > 1 and self.open[-1].indent > indent:
            closed = self.open.pop()
            # Parameters of one KUnit test are announced without a number.
            closed.close(needs_plan=len(self.open) == 1)
            if indent < self.open[-1].indent:
                self.open[-1].problems.append(f"{closed.name or 'a group of tests'} has no result of its own")
        return closed


def parse(lines: Sequence[str]) -> Document:
    reader = Reader()
    for line in lines:
        reader.line(line.rstrip("\r\n"))
    return reader.end()


def kunit(lines: Sequence[str]) -> Document:
    """
    What KUnit reported in a console log whose LINES have no time stamps. Other messages of the kernel may stand in
    between; the report ends with the result of the last suite announced.
    """
    reader = Reader()
    started = False
    for line in lines:
        if not started:
            started = line == "KTAP version 1"
        if started:
            reader.line(line)
            root = reader.open[0]
            if len(reader.open) == 1 and root.plan is not None and len(root.tests) == root.plan:
                break
    document = reader.end()
    if not started:
        document.problems[:] = ["there is no KUnit report on the console; CONFIG_KUNIT is off or the boot ended early"]
    return document
