# SPDX-License-Identifier: GPL-2.0
"""
The cost of system calls (calls.c) and of the boot up to the first program, in instructions of an emulator that counts
them.
"""

import re
from pathlib import Path
from typing import Dict, List

from .. import guest, programs
from ..hostlib import die, shown
from .boots import Boot, lines_of
from .figures import IMPLS, Figure, pair, pairs

MODES = {"none": "idle", "pc": "pc", "cmp": "cmp"}


def command(unit: str, rounds: int) -> str:
    """Returns the shell commands for the guest; UNIT is instructions or time."""
    return "".join(f"calls {mode} {unit} {rounds} >/results/calls.{mode} || exit\n" for mode in MODES)


def values_of(outcome: guest.Outcome, suffix: str) -> Dict[str, float]:
    """Returns the figures that a guest has measured, by their names, which end with SUFFIX."""
    return {
        f"calls.{words[1]}.{name}.{suffix}": float(words[2])
        for mode, name in MODES.items()
        for words in lines_of(outcome, f"calls.{mode}", 3)
    }


def boot(objs: Dict[str, Path], smoke: bool) -> Boot:
    """Returns the guest's part, which runs the same program for both kernels."""
    rounds = 5 if smoke else 61
    return Boot(command("instructions", rounds), {"/bin/calls": programs.of_suite("bench/calls", objs["rust"])})


def boot_to_init(outcome: guest.Outcome) -> float:
    """Returns the time from the start of the kernel's clock to its first program, in milliseconds of virtual time."""
    log = outcome.log.read_text(errors="replace")
    match = re.search(r"^\[ *(\d+\.\d+)\](?:\[[ TC\d]*\])? Run /init as init process", log, re.MULTILINE)
    if not match:
        die(f"{shown(outcome.log)} has no line that shows when the kernel started its first program.")
    return float(match[1]) * 1000


def figures(outcomes: Dict[str, guest.Outcome]) -> List[Figure]:
    values = {impl: values_of(outcomes[impl], "instructions") for impl in IMPLS}
    result = pairs(values, "instr.", "system calls")
    result.append(pair("calls.boot_to_init", "virtual ms", {impl: boot_to_init(outcomes[impl]) for impl in IMPLS}))
    return result
