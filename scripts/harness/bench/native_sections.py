# SPDX-License-Identifier: GPL-2.0
"""
The cost at native speed of remote sections that no task collects, on one CPU and on two at the same time
(native_sections.c).
"""

import os
import re
import shutil
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Callable, Dict, List, Optional

from .. import programs
from ..hostlib import command_output, die, shown
from . import hooks
from .figures import IMPLS, Figure, pair
from .layout import Task

SOURCE = programs.SUITE / "bench/native_sections.c"
OUT = hooks.OUT.with_name("native_sections")

TEXT = re.compile(r" *\d+ \.text +[0-9a-f]+ +[0-9a-f]+ +[0-9a-f]+ +(?P<offset>[0-9a-f]+) ")
FUNCTION = re.compile(r"[0-9a-f]+ <(?P<name>[^>]+)>:$")
# Instructions of one byte that a user program must not run, because they disable and enable interrupts.
PRIVILEGED = re.compile(r" *(?P<address>[0-9a-f]+):\t(?P<name>cli|sti) *$")
NOP = 0x90


def without_interrupt_flag(source: Path, target: Path) -> int:
    """Copies an object file with NOPs in place of CLI and STI in its .text; returns the number of replaced instructions."""
    shutil.copyfile(source, target)
    headers = command_output("objdump", "-h", "-w", str(source)) or ""
    code = command_output("objdump", "-d", "--no-show-raw-insn", "-j", ".text", str(source)) or ""
    text = next(filter(None, map(TEXT.match, headers.splitlines())), None)
    if not text or not any(map(FUNCTION.match, code.splitlines())):
        die(f"objdump finds no code in {shown(source)}.")
    found = [match for match in map(PRIVILEGED.match, code.splitlines()) if match]
    with open(target, "r+b") as file:
        for match in found:
            place = int(text["offset"], 16) + int(match["address"], 16)
            file.seek(place)
            if file.read(1) not in (b"\xfa", b"\xfb"):
                die(f"{shown(source)} has no {match['name']} where objdump shows one.")
            file.seek(place)
            file.write(bytes([NOP]))
    return len(found)


def link(impl: str, obj: Path) -> Path:
    OUT.mkdir(parents=True, exist_ok=True)
    inputs = [SOURCE]
    for path in hooks.objects(impl, obj):
        copy = OUT / f"{impl}-{path.name}"
        without_interrupt_flag(path, copy)
        inputs.append(copy)
    task = Task.of(obj)
    return hooks.link_program(OUT / impl, ["-pthread", f"-DTASK_SIZE={task.size}"], inputs)


def cpus_missing() -> Optional[str]:
    """Returns the reason why sections cannot be measured here, or None if they can."""
    return "they need two CPUs, and there is one" if len(os.sched_getaffinity(0)) < 2 else None


def measure(objs: Dict[str, Path], smoke: bool, progress: Callable[[str], None]) -> List[Figure]:
    missing = cpus_missing()
    if missing:
        die(f"{missing}.")
    cpus = sorted(os.sched_getaffinity(0))[:2]
    built = {impl: link(impl, objs[impl]) for impl in IMPLS}
    ticks: Dict[str, hooks.Samples] = {impl: defaultdict(list) for impl in IMPLS}
    passes, rounds = (1, 3) if smoke else (6, 11)
    for number in range(passes):
        progress(f"pass {number + 1} of {passes}")
        for impl in IMPLS if number % 2 else reversed(IMPLS):
            for _, name, value in hooks.run(built[impl], rounds, *cpus):
                ticks[impl][name].append(value)
    result = []
    # The median, not the minimum: the minimum would show CPUs that do not run at the same time, without contention.
    for name in ticks["c"]:
        what, cpus_used = name.split(".")
        title = f"remote.{what}.native.{cpus_used}cpu{'s' if cpus_used != '1' else ''}"
        result.append(pair(title, "ticks", {impl: median(ticks[impl][name]) for impl in IMPLS}))
    return result
