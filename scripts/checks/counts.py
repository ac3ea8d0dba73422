# SPDX-License-Identifier: GPL-2.0
"""
The hooks, and start and stop of sections, run as many instructions as the list has.

The list is scripts/bench/counts.json. The counts of a kernel that is not in the list are printed, and only compared
with the bounds that hold for all kernels.
"""

from typing import Iterator

from harness.bench import counts
from harness.checklib import Context, Result, skipped, verdict
from harness.hostlib import shown

ORDER = 41

NAME = "rust: as many instructions as the list has"
ADVICE = (
    f"A deliberate change belongs in {shown(counts.LIST)}, in the commit that changes the code: `{counts.RENEW}` "
    "writes the new numbers. If the change is not deliberate, find out what made the code longer."
)


def run(context: Context) -> Iterator[Result]:
    if "c" in context.impls:
        yield skipped("c: instructions", "only those of the implementation in Rust are listed")
    if "rust" not in context.impls:
        return
    obj = context.kernel("rust")
    kernel, seen = counts.Kernel.of(obj), counts.count(obj)
    yield verdict("rust: bounds of instructions", list(counts.broken_bounds(kernel, seen)))
    expected = counts.listed(kernel, counts.read_list())
    if expected is None:
        yield skipped(NAME, f"the list has no counts for {kernel}; those of this kernel are:\n{counts.lines(seen)}")
        return
    problems = list(counts.differences(kernel, seen, expected))
    yield verdict(NAME, [f"{kernel}:", *problems, ADVICE] if problems else [])
