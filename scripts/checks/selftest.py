# SPDX-License-Identifier: GPL-2.0
"""
The self test at boot detects coverage by interrupts, names the functions, and the kernel survives.

Whether interrupts leave coverage depends on the kernel tree. This check is about the detection and the report: the test
must pass, or name functions of the kernel by their symbols, and must not report that nothing is recorded at all.
"""

import re
from typing import Iterator, List

from harness import guest, kernel
from harness.checklib import Context, Result, boot_result, verdict
from harness.console import Expected
from harness.hostlib import text_of

ORDER = 65

PASSED = re.compile(r"kcov: self test passed")
FAILED = re.compile(r"kcov: self test failed: interrupts produced (?P<number>\d+) PCs, in these functions:")
# The lines after the failure, one function each.
FUNCTION = re.compile(r"kcov: {3}[A-Za-z_][\w.]*\+0x[0-9a-f]+/0x[0-9a-f]+$")
NAMED = re.compile(r"kcov: {3}(?P<what>.+)$")

EXPECTED = (Expected(r"WARNING: .*(?:selftest|kcov)", "the self test fails loudly"),)


def judge(lines: List[str]) -> List[str]:
    """Returns the problems in the output of the self test."""
    if any(PASSED.search(line) for line in lines):
        return []
    found = next((match for match in map(FAILED.search, lines) if match), None)
    if not found:
        said = [line for line in lines if "kcov: " in line]
        return ["it neither passed nor counted the PCs that interrupts left" + "".join(f"\n{line}" for line in said)]
    named = [line for line in lines if NAMED.search(line)]
    problems = [f"this is not a function: {line}" for line in named if not FUNCTION.search(line)]
    if int(found["number"]) and not named:
        problems.append(f"{found['number']} PCs, and no function is named")
    return problems


def run(context: Context) -> Iterator[Result]:
    if "rust" not in context.impls:
        return
    context.progress("building a kernel with it")
    obj = kernel.build(kernel.Kernel(impl="rust", arch=context.arch, small=True, fragments=["selftest"]))
    # The first console may lose characters while the driver of the port, on another CPU, finds out what the port can do.
    command = "dmesg >/results/log"
    outcome = context.boot(guest.Guest(obj=obj, name="selftest", arch=context.arch, command=command, expected=EXPECTED))
    yield boot_result("rust: the kernel with the self test boots", outcome)
    lines = (text_of(outcome.results / "log") or "").splitlines()
    yield verdict("rust: the self test passes, or names the functions", judge(lines))
