# SPDX-License-Identifier: GPL-2.0
"""
Each PC once, and none lost: a few dozen programs of system calls have the same set of PCs with and without.
"""

from pathlib import Path
from typing import Iterator

import guest
import programs
from checklib import Context, Result, boot_result, each_kernel, failed, passed, skipped
from hostlib import TOP

ORDER = 56

PROGRAM = TOP / "scripts/differential/unique.c"
# The status of the program on a kernel that has no such mode.
WITHOUT = 3
# Fewer lines than this mean that the program ended early.
FEWEST = 36


def judge(impl: str, line: str) -> Result:
    name, verdict, *numbers = line.split()
    title = f"{impl}: {name}"
    plain, once, turns = numbers
    # The program compares each trace of the one mode with each of the other.
    if verdict == "equal":
        return passed(title, f"{once} of {plain} records, after {turns} turns")
    if verdict == "alike":
        return passed(title, f"never quite the same in {turns} turns, but no PC is missing each time")
    return failed(title, "the PCs are not those of plain mode; the output of the guest names one")


def run(context: Context) -> Iterator[Result]:
    def one(impl: str, obj: Path) -> Iterator[Result]:
        program = programs.build(PROGRAM, obj, context.arch, ("-Wno-unused-function",))
        files = {"/bin/unique": program}
        outcome = context.boot(guest.Guest(obj=obj, name=f"unique-{impl}", arch=context.arch, command="exec unique", files=files))
        yield boot_result(f"{impl}: the kernel stays sound", outcome)
        if outcome.death:
            return
        if outcome.status == WITHOUT:
            yield skipped(f"{impl}: each PC once", "this implementation has no KCOV_UNIQUE_ENABLE")
            return
        lines = [line for line in outcome.output.splitlines() if line.split()[1:2] in (["equal"], ["alike"], ["differs"])]
        for line in lines:
            yield judge(impl, line)
        if outcome.status not in (0, 1) or len(lines) < FEWEST:
            said = "\n".join(outcome.output.splitlines()[-5:])
            yield failed(f"{impl}: all programs", f"status {outcome.status} after {len(lines)} of them:\n{said}")

    yield from each_kernel(context, one)
