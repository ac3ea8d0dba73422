# SPDX-License-Identifier: GPL-2.0
"""
The cost of remote sections in a kernel. A module (module/kcov_bench.c) starts and stops them while a program
(handles.c) has registered handles.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Dict, List, Tuple

from .. import guest, programs
from ..hostlib import BUILD, SCRIPTS, die, run_logged, shown
from ..kernel import Kernel
from .boots import Boot, lines_of
from .figures import IMPLS, Figure, pair

# The number of words that a section asks for to store records.
AREA_WORDS = 4096


@dataclass(frozen=True)
class Case:
    # "zero", "unknown" or "hit".
    what: str
    registered: int
    cpus: int = 1

    @property
    def name(self) -> str:
        return f"{self.what}.{self.registered}.{self.cpus}cpu{'s' if self.cpus > 1 else ''}"


COUNTED = tuple(
    Case(what, registered)
    for what, counts in (("zero", (0, 64)), ("unknown", (0, 1, 64, 4096)), ("hit", (1, 64, 4096)))
    for registered in counts
)
TIMED = tuple(Case(what, 64, cpus) for what in ("zero", "unknown", "hit") for cpus in (1, 2))


def module(impl: str, obj: Path) -> Path:
    """Builds the module for a kernel. The products go to a directory of ours."""
    if not (obj / "Module.symvers").exists():
        die(f"{shown(obj)} has no Module.symvers; build the kernel in it completely.")
    out = BUILD / "bench" / f"module-{impl}"
    out.mkdir(parents=True, exist_ok=True)
    kernel = Kernel(impl=impl, arch="x86_64", out=obj, jobs=1)
    command = kernel.make(programs.tree_of(obj), f"M={programs.SUITE / 'bench/module'}", f"MO={out}", "modules")
    log = BUILD / "log" / f"bench-module-{impl}.log"
    run_logged(log, f"Building the module that measures ({impl})", command, env=kernel.environment())
    return out / "kcov_bench.ko"


def boot(impl: str, objs: Dict[str, Path], cases: Tuple[Case, ...], smoke: bool) -> Boot:
    """Returns the guest's part for CASES."""
    # Few calls per round, so that the host gives the CPUs to other programs in few of the rounds.
    calls, rounds = (200, 3) if smoke else (500, 41)
    lines = []
    for case in cases:
        options = f"what={case.what} registered={case.registered} cpus={case.cpus} calls={calls} rounds={rounds}"
        measure = f"sections {case.name} {calls} {options}"
        if case.registered:
            measure = f"handles {case.registered} {AREA_WORDS} {measure}"
        lines.append(f"{measure} || exit")
    return Boot(
        "\n".join(lines) + "\n",
        {
            "/lib/kcov_bench.ko": module(impl, objs[impl]),
            "/bin/sections": SCRIPTS / "bench/sections.sh",
            "/bin/handles": programs.of_suite("bench/handles", objs["rust"]),
        },
    )


def ticks_of(outcome: guest.Outcome, cases: Tuple[Case, ...]) -> Dict[Case, float]:
    """Returns the ticks for one start and stop on one CPU: the median of the rounds."""
    result = {}
    for case in cases:
        (calls, rounds), = lines_of(outcome, f"remote.{case.name}", 2)
        result[case] = median(int(ticks) for ticks in rounds.split(",")) / int(calls)
    return result


def counted_figures(outcomes: Dict[str, guest.Outcome]) -> List[Figure]:
    ticks = {impl: ticks_of(outcomes[impl], COUNTED) for impl in IMPLS}
    result = [
        pair(f"remote.{case.name}.instructions", "instr.", {impl: ticks[impl][case] for impl in IMPLS})
        for case in COUNTED
    ]
    for what in ("unknown", "hit"):
        values = {impl: ticks[impl][Case(what, 4096)] / ticks[impl][Case(what, 1)] for impl in IMPLS}
        result.append(pair(f"remote.{what}.4096_against_1", "x", values))
    return result


def timed_figures(outcomes: Dict[str, List[guest.Outcome]]) -> List[Figure]:
    """Computes the figures from several boots per kernel. The quickest boot counts, because other load only slows it down."""
    boots = {impl: [ticks_of(outcome, TIMED) for outcome in outcomes[impl]] for impl in IMPLS}
    ticks = {impl: {case: min(boot[case] for boot in boots[impl]) for case in TIMED} for impl in IMPLS}
    result = [
        pair(f"remote.{case.name}.time", "ticks (TCG)", {impl: ticks[impl][case] for impl in IMPLS}) for case in TIMED
    ]
    for what in ("zero", "unknown", "hit"):
        values = {impl: 2 * ticks[impl][Case(what, 64, 1)] / ticks[impl][Case(what, 64, 2)] for impl in IMPLS}
        result.append(pair(f"remote.{what}.64.throughput_of_2cpus", "x one CPU", values))
    return result
