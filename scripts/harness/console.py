# SPDX-License-Identifier: GPL-2.0
"""
Reads the console log of a kernel: finds the reports of things that went wrong there.
"""

import re
from dataclasses import dataclass
from typing import List, Sequence, Tuple

# `[    1.234567] `, with CONFIG_PRINTK_CALLER `[    1.234567][    T1] `, in front of it a level `<4>`.
PREFIX = re.compile(r"^(?:<\d+>)?\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? ?")

# How the first line of a report begins. User space does not write to the console, so words that only a kernel in
# trouble says are enough.
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
# What belongs to the report in progress even far from its beginning.
CONTINUATION = re.compile(r"^Call Trace:")
# What a guest that runs several programs puts in front of the output of each, into the kernel's log too.
MARK = re.compile(r"^### (\S+)$")
# One report often begins with several telling lines.
HEAD = 4
# Reports do not say where they end; so many lines are shown of one that does not.
LENGTH = 60


@dataclass(frozen=True)
class Report:
    """One report of the kernel: where it begins in the log, counted from 1, and its lines without time stamps."""

    line: int
    lines: Tuple[str, ...]
    # The program during which it came, if the log tells.
    program: str = ""

    @property
    def title(self) -> str:
        return next((line for line in self.lines if "[ cut here ]" not in line), self.lines[0])

    @property
    def head(self) -> str:
        """The lines that say what it is; an excuse is looked for here, not in what happened to follow."""
        return "\n".join(self.lines[: HEAD + 1])


@dataclass(frozen=True)
class Expected:
    """A report that is no failure: a pattern found in its head, the reason, and the programs that cause it if not any may."""

    pattern: str
    reason: str
    programs: Tuple[str, ...] = ()

    def excuses(self, report: Report) -> bool:
        return bool(re.search(self.pattern, report.head)) and (not self.programs or report.program in self.programs)


def plain(line: str) -> str:
    """A line of the log without its time stamp."""
    return PREFIX.sub("", line.rstrip("\r\n"))


def lines_of(log: bytes) -> List[str]:
    return [plain(line) for line in log.decode(errors="replace").splitlines()]


def reports(lines: Sequence[str]) -> List[Report]:
    """What went wrong according to the log's LINES (without time stamps)."""
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
