# SPDX-License-Identifier: GPL-2.0
"""
Each PC is recorded once, and none is lost: a few dozen programs of system calls have the same set of PCs in both modes.
"""

import re
from pathlib import Path
from typing import Dict, Iterator, List

from harness import guest, programs
from harness.checklib import Context, Result, boot_result, each_kernel, failed, passed, skipped, verdict

ORDER = 56

SOURCES = programs.SUITE / "traces"
# The exit status of the program on a kernel without this mode.
WITHOUT = 3
# Enough for kernels that check all memory, on a busy host.
SECONDS = 1800
# The programs are in tables at the end of their files.
NAME = re.compile(r'^\t\{ "([\w-]+)", \w+, \w+ \},$', re.MULTILINE)
RESULTS = ("equal", "alike", "interrupted", "differs")
# One in so many programs may be interrupted in nearly every turn, as long programs are on a busy host.
INTERRUPTED = 2
# Programs that need not give a result, with the reason: ARCH: {PROGRAM: REASON}.
MAY_BE_MISSING: Dict[str, Dict[str, str]] = {}


def names() -> List[str]:
    """Returns the programs in the sources."""
    texts = [file.read_text(encoding="utf-8") for file in sorted(SOURCES.glob("*.c"))]
    # Without the tables of the files that run the programs.
    return [name for text in texts if "int main(" not in text for name in NAME.findall(text)]


def without_result(lines: List[str], output: str, arch: str) -> Iterator[str]:
    """Yields the programs that printed no result line, with their other output."""
    seen = {line.split()[0] for line in lines}
    for name in names():
        if name not in seen and name not in MAY_BE_MISSING.get(arch, {}):
            said = [line for line in output.splitlines() if line.startswith(f"{name}: ")]
            yield f"{name} gave no result" + "".join(f"\n    {line}" for line in said)


def judge(impl: str, line: str) -> Result:
    name, verdict, *numbers = line.split()
    title = f"{impl}: {name}"
    plain, once, turns = numbers
    # The program compares each trace of the one mode with each of the other.
    if verdict == "equal":
        return passed(title, f"{once} of {plain} records, after {turns} turns")
    if verdict == "alike":
        return passed(title, f"never quite the same in {turns} turns, but no PC is missing each time")
    if verdict == "interrupted":
        return passed(title, f"interrupted in nearly all of {turns} turns; each set was that of its trace")
    return failed(title, "the PCs are not those of plain mode; the output of the guest names one")


def run(context: Context) -> Iterator[Result]:
    def one(impl: str, obj: Path) -> Iterator[Result]:
        program = programs.of_suite("traces/unique", obj, context.arch)
        files = {"/bin/unique": program}
        boot = guest.Guest(
            obj=obj, name=f"unique-{impl}", arch=context.arch, command="exec unique", files=files, timeout=SECONDS
        )
        outcome = context.boot(boot)
        yield boot_result(f"{impl}: the kernel stays sound", outcome)
        if outcome.death:
            return
        if outcome.status == WITHOUT:
            yield skipped(f"{impl}: each PC once", "this implementation has no KCOV_UNIQUE_ENABLE")
            return
        lines = [line for line in outcome.output.splitlines() if set(line.split()[1:2]) & set(RESULTS)]
        for line in lines:
            yield judge(impl, line)
        problems = list(without_result(lines, outcome.output, context.arch))
        interrupted = [line.split()[0] for line in lines if line.split()[1] == "interrupted"]
        if INTERRUPTED * len(interrupted) > len(lines):
            problems.append(f"too many programs were interrupted too often to be compared: {', '.join(interrupted)}")
        if outcome.status not in (0, 1):
            said = "\n".join(outcome.output.splitlines()[-5:])
            problems.append(f"status {outcome.status} after {len(lines)} of them:\n{said}")
        yield verdict(f"{impl}: all programs", problems)

    yield from each_kernel(context, one)
