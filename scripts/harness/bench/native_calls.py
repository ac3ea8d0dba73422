# SPDX-License-Identifier: GPL-2.0
"""
The cost of system calls at native speed (calls.c) in user-mode Linux, which is a program of the host, so that nothing
is emulated. Most of the time is spent in switches between processes of the host, which an implementation cannot change.
All of the processes run on one CPU; otherwise the result would depend on where the host's scheduler puts them.
"""

from pathlib import Path
from typing import Callable, Dict, List

from .. import guest, kernel, programs
from ..hostlib import die
from .calls import command, values_of
from .figures import IMPLS, Figure, pairs

BOOTS = 15
ROUNDS = 61


def kernels() -> Dict[str, Path]:
    """Returns both implementations for user-mode Linux, built from the same tree."""
    return {impl: kernel.build(kernel.Kernel(impl=impl, arch="um")) for impl in IMPLS}


def run(impl: str, obj: Path, number: int, cpu: int) -> Dict[str, float]:
    """Returns the median cost of each call in each mode in one boot, in nanoseconds."""
    machine = guest.Guest(
        obj=obj,
        name=f"bench-{impl}-native-{number}",
        arch="um",
        command=command("time", ROUNDS),
        cpus=(cpu,),
        files={"/bin/calls": programs.of_suite("bench/calls", obj, "um")},
        timeout=180,
    )
    outcome = guest.boot(machine)
    problems = outcome.failures()
    if problems:
        die("measuring in user-mode Linux failed: " + "\n".join(problems))
    return values_of(outcome, "native")


def measure(objs: Dict[str, Path], cpu: int, progress: Callable[[str], None]) -> List[Figure]:
    """Returns the minimum over several boots, because disturbances only add time. The implementations take turns."""
    best: Dict[str, Dict[str, float]] = {impl: {} for impl in IMPLS}
    for number in range(BOOTS):
        for impl in IMPLS if number % 2 else reversed(IMPLS):
            progress(f"{impl}: boot {number + 1} of {BOOTS}")
            for name, value in run(impl, objs[impl], number, cpu).items():
                best[impl][name] = min(value, best[impl].get(name, value))
    return pairs(best, "ns", "system calls")
