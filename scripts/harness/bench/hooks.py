# SPDX-License-Identifier: GPL-2.0
"""
The cost of a hook call at native speed. The program (hooks.c) is linked with the kernel's own object files.
"""

import re
import subprocess
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Callable, Dict, List, Sequence, Tuple

from .. import programs
from ..hostlib import BUILD, die, shown
from .figures import IMPLS, Figure, pair
from .layout import Task

SOURCE = programs.SUITE / "bench/hooks.c"
OUT = BUILD / "bench/hooks"
# The position of an implementation's code relative to cache lines depends on everything else that the kernel is linked
# from. To be fair to both implementations, each is measured at every position that its alignment allows.
PLACES = (0, 16, 32, 48)
LINE = 64
FLAGS = (
    "-O2 -g -Wall -Wextra -static -no-pie -fno-pie -mno-red-zone -fcf-protection=none -fno-stack-protector "
    "-falign-functions=64 -falign-loops=64"
).split()

Samples = Dict[str, List[float]]


def objects(impl: str, obj: Path, everything: bool = False) -> List[Path]:
    """Returns the object files with the hooks and the data that they read, or all object files of the implementation."""
    names = ["kernel/kcov.o"] if impl == "c" else ["kernel/kcov/kcov.o", "kernel/kcov/support.o"]
    if everything and impl != "c":
        names.append("kernel/kcov/gate.o")
    paths = [obj / name for name in names]
    for path in paths:
        if not path.exists():
            die(f"there is no {shown(path)}: the kernel in {shown(obj)} was not built with this implementation.")
    return paths


def defines(task: Task) -> List[str]:
    """Returns the macros that tell hooks.c the offsets of the fields."""
    in_records = "kcov_capacity" in task.fields
    capacity = "kcov_capacity" if in_records else "kcov_size"
    names = {"MODE": "kcov_mode", "CAPACITY": capacity, "AREA": "kcov_area", "SOFTIRQ": "kcov_softirq"}
    if "kcov_layout" in task.fields:
        names["LAYOUT"] = "kcov_layout"
    result = [f"-DOFFSET_{name}={task.fields[field].offset}" for name, field in names.items()]
    return [*result, f"-DTASK_SIZE={task.size}", *(["-DCAPACITY_IN_RECORDS"] if in_records else [])]


def link(impl: str, obj: Path, place: int) -> Path:
    """Links the program with the implementation's code PLACE bytes after the beginning of a cache line."""
    OUT.mkdir(parents=True, exist_ok=True)
    filler = OUT / f"filler-{place}.S"
    filler.write_text(f".text\n.balign {LINE}\n.skip {place}\n.section .note.GNU-stack,\"\",@progbits\n", encoding="ascii")
    options = defines(Task.of(obj))
    return link_program(OUT / f"{impl}-{place}", options, [SOURCE, filler, *objects(impl, obj)])


def link_program(target: Path, options: Sequence[str], inputs: Sequence[Path]) -> Path:
    """Links our sources and a kernel's object files into a program. Symbols that remain undefined have the address 0."""
    command = [programs.compiler("x86_64"), *FLAGS, *options, *map(str, inputs), "-Wl,--unresolved-symbols=ignore-all"]
    return programs.compile_to(target, command, inputs[0])


def run(program: Path, *arguments: int) -> List[Tuple[str, str, float]]:
    """Returns the fields of the lines that a program prints."""
    command = [str(program), *map(str, arguments)]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if result.returncode:
        reason = result.stderr.decode(errors="replace").strip() or f"status {result.returncode}"
        die(f"measuring with {shown(program)} failed: {reason}")
    return parse(result.stdout.decode())


def parse(text: str) -> List[Tuple[str, str, float]]:
    found = []
    for line in text.splitlines():
        match = re.fullmatch(r"(ticks|instructions) ([\w.]+) ([\d.]+)", line)
        if not match:
            die(f"the program of the hooks printed '{line}', which is not a measurement.")
        found.append((match[1], match[2], float(match[3])))
    return found


def figures(instructions: Dict[str, Dict[str, float]], ticks: Dict[str, Samples]) -> List[Figure]:
    """Computes the figures from the samples of each implementation."""
    names = list(ticks["c"])
    if any(list(source[impl]) != names for source in (instructions, ticks) for impl in IMPLS):
        die("the programs of the hooks did not measure the same figures for both implementations.")
    result = []
    for name in names:
        for kind, pick in (("minimum", min), ("median", median)):
            result.append(pair(f"hooks.{name}.{kind}", "ticks", {impl: pick(ticks[impl][name]) for impl in IMPLS}))
        result.append(pair(f"hooks.{name}.instructions", "instr.", {impl: instructions[impl][name] for impl in IMPLS}))
        if name.endswith(".idle"):
            empty = "empty" if name.startswith("trace_pc.") else "empty_with_arguments"
            values = {impl: min(ticks[impl][name]) / min(ticks[impl][empty]) for impl in IMPLS}
            result.append(pair(f"hooks.{name}.against_empty", "x empty", values))
        if ".unique_" in name or ".edge_" in name:
            plain = ticks["rust"]["trace_pc.collecting"]
            result.append(Figure(f"hooks.{name}.against_plain", "x plain", 1, min(ticks["rust"][name]) / min(plain)))
    # Sorted by kind, so that related figures are next to each other in the table.
    order = ("minimum", "against_empty", "against_plain", "median", "instructions")
    return sorted(result, key=lambda figure: order.index(figure.name.rpartition(".")[2]))


def measure(objs: Dict[str, Path], cpu: int, smoke: bool, progress: Callable[[str], None]) -> List[Figure]:
    built: Dict[str, Sequence[Path]] = {
        impl: [link(impl, objs[impl], place) for place in PLACES[: 1 if smoke else None]] for impl in IMPLS
    }
    instructions = {impl: {name: value for _, name, value in run(built[impl][0], cpu, 0)} for impl in IMPLS}
    ticks: Dict[str, Samples] = {impl: defaultdict(list) for impl in IMPLS}
    passes, rounds = (1, 3) if smoke else (10, 12)
    # The implementations take turns, so that a change of the machine's speed affects both.
    for number in range(passes):
        progress(f"pass {number + 1} of {passes}")
        for place in range(len(built["c"])):
            for impl in IMPLS if number % 2 else reversed(IMPLS):
                for _, name, value in run(built[impl][place], cpu, rounds):
                    ticks[impl][name].append(value)
    return figures(instructions, ticks)
