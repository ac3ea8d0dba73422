# SPDX-License-Identifier: GPL-2.0
"""Reads the log of a kernel build: its progress, its errors, and the warnings about our files."""

import re
from typing import Iterable, List

# `  CC      kernel/fork.o`, as kbuild prints without V=1.
STEP = re.compile(r"^  [A-Z][A-Z0-9_]*( \[M\])? +\S")
ERROR = re.compile(r"\berror(\[E\d+\])?:|\bError \d|undefined (reference|symbol)|\*\*\* |cannot find|No such file")
MAKE = re.compile(r"^make(\[\d+\])?: (Entering|Leaving) directory")
WARNING = re.compile(r"\bwarning:", re.I)
# Our code by names other than a path, because objtool and modpost print functions and symbols.
OUR_NAMES = re.compile(r"\b(kernel/kcov/|lib/Kconfig\.kcov\b|__sanitizer_cov_|kcov_|kcov::)")


def is_step(line: str) -> bool:
    return STEP.match(line) is not None


def excerpt(lines: List[str], count: int = 25) -> List[str]:
    """Returns the useful part of a failed build's log: the lines from the first error on, without steps."""
    lines = [line for line in lines if not is_step(line) and not MAKE.match(line)]
    first = next((number for number, line in enumerate(lines) if ERROR.search(line)), None)
    if first is None:
        return lines[-count:]
    start = max(0, first - 3)
    return lines[start : start + count]


def warnings(lines: List[str], ours: Iterable[str]) -> List[str]:
    """Returns the warnings about files of the overlay, each with the lines that explain it."""
    paths = sorted(ours, key=len, reverse=True)
    names = re.compile("|".join(r"(?<![\w-])" + re.escape(path) + r"(?!\w)" for path in paths)) if paths else None
    found: List[str] = []
    number = 0
    while number < len(lines):
        if not WARNING.search(lines[number]) or is_step(lines[number]):
            number += 1
            continue
        # A warning ends at the next step, blank line or warning.
        end = number + 1
        while end < len(lines) and end - number < 20:
            line = lines[end]
            if not line.strip() or is_step(line) or MAKE.match(line) or WARNING.search(line):
                break
            end += 1
        block = "\n".join(lines[number:end])
        # Only the first place counts, because the rest may show a caller. rustc names it in the second line.
        rust = lines[number].startswith("warning:")
        head = "\n".join(lines[number : min(end, number + 2 if rust else number + 1)])
        if (names and names.search(head)) or OUR_NAMES.search(head):
            if block not in found:
                found.append(block)
        number = end
    return found
