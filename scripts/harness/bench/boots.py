# SPDX-License-Identifier: GPL-2.0
"""
The guests for measurements: one whose emulator counts instructions, and one in which two CPUs run at the same time.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, List

from .. import guest, initramfs
from ..hostlib import die, shown, warn

# One instruction per nanosecond. Waiting takes no time, and the host contributes nothing that differs from run to run.
COUNTING = ("-icount", "shift=0,sleep=off", "-seed", "1", "-rtc", "base=2026-01-01,clock=vm")


ATTEMPTS = 3


@dataclass(frozen=True)
class Boot:
    """A part of a guest's work: shell commands, and the files that they need."""

    command: str
    files: Dict[str, initramfs.Source] = field(default_factory=dict)


def run(name: str, obj: Path, parts: List[Boot], counting: bool, progress: Callable[[str], None]) -> guest.Outcome:
    """
    Boots the kernel in OBJ and runs PARTS: with COUNTING on one CPU whose clock counts instructions, otherwise on two
    that run at the same time.
    """
    machine = guest.Guest(
        obj=obj,
        name=f"bench-{name}",
        command="".join(part.command for part in parts),
        files={path: source for part in parts for path, source in part.files.items()},
        timeout=600 if counting else 180,
        smp=1 if counting else 2,
        emulation="tcg,thread=single" if counting else "tcg,thread=multi",
        kernel_args=("printk.time=1", *(("nokaslr",) if counting else ())),
        qemu_args=COUNTING if counting else (),
    )
    # Two CPUs can be measured at the same time only if each has a thread of its own. A QEMU that guest.py would run with
    # one thread crashes now and then in that mode. A boot that ends well is as good as any other.
    for attempt in range(1 if counting else ATTEMPTS):
        progress(f"{name}: booting")
        outcome = guest.boot(machine, lambda line: progress(f"{name}: {line}"))
        if not outcome.death:
            break
        if attempt + 1 < ATTEMPTS and not counting:
            warn(f"the guest {name} {outcome.death}; trying again.")
    problems = outcome.failures()
    if problems:
        die(f"measuring in the guest {name} failed: " + "\n".join(problems))
    return outcome


def lines_of(outcome: guest.Outcome, name: str, words: int) -> List[List[str]]:
    """Returns the lines of a result file, each split into WORDS words."""
    path = outcome.results / name
    if not path.exists():
        die(f"the guest sent no {name}; its output is in {shown(outcome.guest.run / 'ports/output')}.")
    lines = [line.split() for line in path.read_text(encoding="ascii", errors="replace").splitlines()]
    if not lines or any(len(line) != words for line in lines):
        die(f"{shown(path)} is malformed: each line must have {words} words.")
    return lines
