# SPDX-License-Identifier: GPL-2.0
"""
Finds the reports of errors in the console log of a kernel.
"""

import re
from dataclasses import dataclass
from typing import List, Sequence, Tuple

# `[    1.234567] `, with CONFIG_PRINTK_CALLER `[    1.234567][    T1] `; a level such as `<4>` may precede it.
PREFIX = re.compile(r"^(?:<\d+>)?\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? ?")

# The first line of a report. Programs do not write to the console, so words that only a kernel in trouble prints are
# sufficient.
TROUBLE = re.compile(
    r"""
      ^(?:[\w-]+:[ ])?(?:WARNING|BUG):[ ]      # WARN_ON, lockdep, KASAN, KFENCE, KCSAN, KMSAN, sleeping in atomic
    | ^-+\[[ ]cut[ ]here[ ]\]-+
    | ^(?:Internal[ ]error:[ ])?Oops(?::|[ ]-[ ]|[ ]\[)
    | ^Unable[ ]to[ ]handle[ ]kernel
    | ^kernel[ ]BUG[ ]at
    | Kernel[ ]panic[ ]-[ ]not[ ]syncing
    | ^(?:general[ ]protection[ ]fault|invalid[ ]opcode|divide[ ]error|double[ ]fault|stack[ ]segment|traps:.*kernel)
    | PANIC:[ ]
    | ^Call[ ]Trace:
    | ^UBSAN:[ ]
    | ^(?:rcu:[ ])?INFO:[ ](?:rcu_\w+[ ](?:self-)?detected|task[ ].*blocked[ ]for[ ]more[ ]than|trying[ ]to[ ]register)
    | ^INFO:[ ]lockdep[ ]is[ ]turned[ ]off
    | DEBUG_LOCKS_WARN_ON
    | ^kmemleak:[ ][1-9]\d*[ ]new[ ]suspected
    | ^unreferenced[ ]object
    | ^refcount_t:[ ]
    | ^list_(?:add|del)[ ]corruption
    | page[ ]allocation[ ]failure|vmalloc[ ]error:[ ]
    | ^rust_kernel:[ ]panicked
    | ^kcov:[ ].*hooks[ ]stay[ ]switched[ ]on
    """,
    re.VERBOSE,
)
END = re.compile(r"^---\[ end (?:trace|Kernel panic)")
# A line that belongs to the current report even far from its beginning.
CONTINUATION = re.compile(r"^Call Trace:")
# A guest that runs several programs prints this line before the output of each, also to the kernel's log.
MARK = re.compile(r"^### (\S+)$")
# A report often begins with several telling lines.
HEAD = 4
# Reports have no end mark. A report without a known end is shown up to this number of lines.
LENGTH = 60


@dataclass(frozen=True)
class Report:
    """One report of the kernel: the line of the log where it begins, counted from 1, and its lines without time stamps."""

    line: int
    lines: Tuple[str, ...]
    # The program that was running when the report came, if the log has its name.
    program: str = ""

    @property
    def title(self) -> str:
        return next((line for line in self.lines if "[ cut here ]" not in line), self.lines[0])

    @property
    def head(self) -> str:
        """
        Returns the lines that identify the report. Excuses are looked for here only, not in the lines that happen to
        follow.
        """
        return "\n".join(self.lines[: HEAD + 1])


@dataclass(frozen=True)
class Expected:
    """A report that is not a failure: a pattern for its head, the reason, and the programs that may cause it (empty: all)."""

    pattern: str
    reason: str
    programs: Tuple[str, ...] = ()

    def excuses(self, report: Report) -> bool:
        return bool(re.search(self.pattern, report.head)) and (not self.programs or report.program in self.programs)


def plain(line: str) -> str:
    """Returns a line of the log without its time stamp."""
    return PREFIX.sub("", line.rstrip("\r\n"))


def lines_of(log: bytes) -> List[str]:
    return [plain(line) for line in log.decode(errors="replace").splitlines()]


def reports(lines: Sequence[str]) -> List[Report]:
    """Returns the reports in the log's LINES, which have no time stamps."""
    found: List[Report] = []
    begin, last, program = None, 0, ""
    for number, line in enumerate(lines):
        mark = MARK.match(line)
        if begin is not None and (mark or number - begin >= LENGTH):
            found.append(_report(lines, begin, number - 1, program))
            begin = None
        program = mark[1] if mark else program
        if TROUBLE.search(line):
            joins = begin is not None and (number - last <= HEAD or CONTINUATION.match(line))
            if begin is not None and not joins:
                found.append(_report(lines, begin, number - 1, program))
            begin = begin if joins else number
            last = number if not CONTINUATION.match(line) else last
        elif begin is not None and END.match(line):
            found.append(_report(lines, begin, number, program))
            begin = None
    if begin is not None:
        found.append(_report(lines, begin, len(lines) - 1, program))
    return found


def _report(lines: Sequence[str], begin: int, end: int, program: str) -> Report:
    return Report(begin + 1, tuple(lines[begin : end + 1]), program)


def unexpected(found: Sequence[Report], expected: Sequence[Expected]) -> List[Report]:
    return [report for report in found if not any(entry.excuses(report) for entry in expected)]
