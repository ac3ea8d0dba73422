# SPDX-License-Identifier: GPL-2.0
"""
The cost of what a fuzzer's executor does around each of its programs (executor.c), in instructions of an emulator that
counts them.
"""

from pathlib import Path
from typing import Dict, List

from .. import guest, programs
from .boots import Boot, lines_of
from .figures import IMPLS, Figure, pair, pairs

# The numbers of buffers of threads, of which executor.c maps one more for remote coverage.
BUFFERS = (3, 6, 8)


def boot(objs: Dict[str, Path], smoke: bool) -> Boot:
    """Returns the guest's part, which runs the same program for both kernels."""
    command = f"executor instructions {5 if smoke else 61} >/results/executor || exit\n"
    return Boot(command, {"/bin/executor": programs.of_suite("bench/executor", objs["rust"])})


def figures(outcomes: Dict[str, guest.Outcome]) -> List[Figure]:
    values = {
        impl: {f"executor.{name}": float(value) for name, value in lines_of(outcomes[impl], "executor", 2)}
        for impl in IMPLS
    }
    result = pairs(values, "instr.", "steps of an executor")
    for name in (f"executor.fork_{number}" for number in BUFFERS):
        against = {impl: values[impl][f"{name}.parent"] / values[impl]["executor.fork_none"] for impl in IMPLS}
        result.append(pair(f"{name}.against_none", "x none", against))
    return result
