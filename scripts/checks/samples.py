# SPDX-License-Identifier: GPL-2.0
"""
The sample programs run in guests, and what they print makes sense.
"""

import re
from collections import Counter
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

import guest
import programs
import symbolize
from checklib import Context, Result, boot_result, each_kernel, failed, passed, verdict
from hostlib import TOP, Failure

ORDER = 55

SAMPLES = TOP / "samples/kcov"
# Functions that read(-1, NULL, 0) runs, each of them in one of the names that compilers leave.
READ_PATH = (("ksys_read", "__x64_sys_read", "__se_sys_read", "__arm64_sys_read", "__riscv_sys_read"), ("fdget", "fdget_pos", "__fget_light"))
# The number that samples/kcov/cmp.c passes as whence; the kernel must have compared it.
COMPARISON = re.compile(r"pc (0x[0-9a-f]+) ([1248]) bytes (0x[0-9a-f]+) (0x[0-9a-f]+)( const)?$")
# How often the trace of read(2) is taken. An interrupt may make the kernel reschedule on its way back to user space,
# which shows in the trace; what most of the runs agree on is the system call itself.
RUNS = 7
COMMAND = f"""
run() {{
	"/samples/$1" >/results/$2.out 2>/results/$2.err
	echo $? >/results/$2.status
}}
run cmp cmp
run remote remote
for number in $(seq {RUNS}); do
	run pc pc$number
done
"""

# One line of a trace: the function and its place, with those into which it was inlined.
Place = Tuple[symbolize.Frame, ...]


def output(results: Path, program: str, run: str = "") -> List[str]:
    """What a program printed; a Failure if it complained."""
    run = run or program
    status = (results / f"{run}.status").read_text(encoding="ascii").strip()
    if status != "0":
        said = (results / f"{run}.err").read_text(encoding="utf-8", errors="replace").strip()
        raise Failure(f"samples/kcov/{program}.c failed with status {status}: {said}")
    return (results / f"{run}.out").read_text(encoding="ascii", errors="replace").splitlines()


def read_trace(impl: str, obj: Path, results: Path) -> Tuple[Result, List[Place]]:
    name = f"{impl}: pc: the path of read(2)"
    runs = [tuple(symbolize.parse_pcs(output(results, "pc", f"pc{number}"))) for number in range(1, RUNS + 1)]
    pcs, times = Counter(runs).most_common(1)[0]
    symbolizer = symbolize.Symbolizer(obj)
    symbolizer.load(pcs)
    places = [symbolizer.frames(pc) for pc in pcs]
    names = {frame.function for place in places for frame in place}
    problems = [f"no PC in any of: {', '.join(group)}" for group in READ_PATH if not names & set(group)]
    problems += [f"{pc:#x} has no name" for pc, place in zip(pcs, places) if place[0].function == symbolize.UNKNOWN]
    problems += [f"{place[0].function} has no file" for place in places if place[0].file == symbolize.UNKNOWN]
    if times <= RUNS // 2:
        problems.append(f"{RUNS} runs agree on no trace: their lengths are {[len(run) for run in runs]}")
    return verdict(name, problems), places


def comparisons(impl: str, obj: Path, results: Path) -> Result:
    name = f"{impl}: cmp: operands of lseek(2)"
    lines = output(results, "cmp")
    matches = [COMPARISON.match(line) for line in lines]
    problems = [f"not a comparison: {line}" for line, match in zip(lines, matches) if not match]
    source = (SAMPLES / "cmp.c").read_text(encoding="utf-8")
    odd = re.search(r"#define\s+ODD_WHENCE\s+(0x[0-9a-fA-F]+|\d+)", source)
    if not odd:
        problems.append("samples/kcov/cmp.c defines no ODD_WHENCE any more; this check needs it")
    else:
        value = int(odd[1], 0)
        operands = {int(match[group], 16) for match in matches if match for group in (3, 4)}
        if value not in operands:
            problems.append(f"the number {value:#x} that the program passed was compared with nothing")
    symbolizer = symbolize.Symbolizer(obj)
    pcs = [int(match[1], 16) for match in matches if match]
    symbolizer.load(pcs)
    problems += [f"{pc:#x} has no name" for pc in pcs if symbolizer.frames(pc)[0].function == symbolize.UNKNOWN]
    return verdict(name, problems)


def difference(traces: Dict[str, List[Place]]) -> List[str]:
    """Where the traces of two implementations differ, in words."""
    (one, first), (other, second) = traces.items()
    lines = {impl: [" < ".join(f"{frame.function} {frame.place}" for frame in place) for place in trace] for impl, trace in traces.items()}
    if first == second:
        return []
    for index, (left, right) in enumerate(zip(lines[one], lines[other])):
        if left != right:
            return [f"line {index + 1}: {one} has {left}", f"line {index + 1}: {other} has {right}"]
    return [f"{one} has {len(first)} PCs, {other} has {len(second)}"]


def run(context: Context) -> Iterator[Result]:
    traces: Dict[str, List[Place]] = {}

    def one(impl: str, obj: Path) -> Iterator[Result]:
        files = {f"/samples/{name}": programs.build(SAMPLES / f"{name}.c", obj, context.arch) for name in ("pc", "cmp", "remote")}
        outcome = context.boot(guest.Guest(obj=obj, name=f"samples-{impl}", arch=context.arch, command=COMMAND, files=files))
        yield boot_result(f"{impl}: the kernel stays sound", outcome)
        if outcome.death:
            return
        steps = (("pc", read_trace), ("cmp", comparisons))
        for program, judge in steps:
            try:
                result = judge(impl, obj, outcome.results)
            except Failure as failure:
                yield failed(f"{impl}: {program}", str(failure))
                continue
            if isinstance(result, tuple):
                result, traces[impl] = result
            yield result
        try:
            symbolize.parse_pcs(output(outcome.results, "remote"))
            yield passed(f"{impl}: remote: collects and ends")
        except Failure as failure:
            yield failed(f"{impl}: remote", str(failure))

    yield from each_kernel(context, one)
    if len(traces) == 2:
        yield verdict("C and Rust give one trace of read(2)", difference(traces))
