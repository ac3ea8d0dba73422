# SPDX-License-Identifier: GPL-2.0
"""
The sample programs in C and in Rust run in guests, and their output is plausible. The options for fuzzing fit the tree.
"""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Dict, Iterator, List, Sequence, Tuple

from harness import crates, guest, kconfig, kernel, programs, symbolize
from harness.arch import ARCHITECTURES
from harness.checklib import Context, Result, boot_result, each_kernel, failed, output_of, skipped, verdict
from harness.hostlib import BUILD, TOP, Failure, run_logged, shown

ORDER = 55

SAMPLES = TOP / "samples/kcov"
# The function of the sample module that runs in a worker thread for the process. The samples of remote coverage collect
# it.
WORK_CODE = "kcov_sample_work_code"
PROGRAMS = ("pc", "cmp", "remote")
# The programs in Rust run in addition to those in C; their names have this prefix.
RUST = "rust-"
# Functions that run in a read(2) that fails. Each group has the names that different compilers leave for one function.
READ_PATH = (
    ("ksys_read", "__se_sys_read", *(architecture.read_call for architecture in ARCHITECTURES.values())),
    ("fdget", "fdget_pos", "__fget_light"),
)
# The line that the programs print for a comparison, and the odd number that each of them passes. The kernel must have
# compared this number.
COMPARISON = re.compile(r"pc (0x[0-9a-f]+) ([1248]) bytes (0x[0-9a-f]+) (0x[0-9a-f]+)( const)?$")
ODD_NUMBERS = {
    "cmp": (SAMPLES / "cmp.c", re.compile(r"#define\s+ODD_WHENCE\s+(\w+)")),
    "rust-cmp": (SAMPLES / "rust/src/bin/cmp.rs", re.compile(r"const ODD_POSITION: u64 = (\w+);")),
}
# The number of traces of read(2). An interrupt may make the kernel reschedule on its way back to user space, which is
# visible in the trace. The trace that most of the runs share is the system call itself.
RUNS = 7
COMMAND = f"""
run() {{
	name=$1; shift
	"$@" >/results/$name.out 2>/results/$name.err
	echo $? >/results/$name.status
}}
run unique /samples/unique
for language in "" {RUST}; do
	run ${{language}}cmp /samples/${{language}}cmp
	run ${{language}}remote /samples/${{language}}remote /work
	run ${{language}}idle /samples/${{language}}remote
	for number in $(seq {RUNS}); do
		run ${{language}}pc$number /samples/${{language}}pc
	done
done
"""

# One line of a trace: the function and its line, and the functions into which it was inlined.
Place = Tuple[symbolize.Frame, ...]


def output(results: Path, run: str) -> List[str]:
    """Returns the output of a program; raises a Failure if the program printed an error."""
    status = (results / f"{run}.status").read_text(encoding="ascii").strip()
    said = (results / f"{run}.err").read_text(encoding="utf-8", errors="replace").strip()
    if status != "0" or said:
        raise Failure(f"the sample failed with status {status}: {said or 'without a message'}")
    return (results / f"{run}.out").read_text(encoding="ascii", errors="replace").splitlines()


def nameless(symbolizer: symbolize.Symbolizer, pcs: Sequence[int]) -> List[str]:
    return [f"{pc:#x} has no name" for pc in pcs if symbolizer.frames(pc)[0].function == symbolize.UNKNOWN]


def read_trace(symbolizer: symbolize.Symbolizer, results: Path, program: str) -> Tuple[List[Place], List[str]]:
    """Returns the trace of the read(2) that fails, and the problems in it."""
    runs = [tuple(symbolize.parse_pcs(output(results, f"{program}{number}"))) for number in range(1, RUNS + 1)]
    pcs, times = Counter(runs).most_common(1)[0]
    symbolizer.load(pcs)
    places = [symbolizer.frames(pc) for pc in pcs]
    names = {frame.function for place in places for frame in place}
    problems = [f"no PC in any of: {', '.join(group)}" for group in READ_PATH if not names & set(group)]
    problems += nameless(symbolizer, pcs)
    problems += [f"{place[0].function} has no file" for place in places if place[0].file == symbolize.UNKNOWN]
    if times <= RUNS // 2:
        problems.append(f"{RUNS} runs agree on no trace: their lengths are {[len(run) for run in runs]}")
    return places, problems


def comparisons(symbolizer: symbolize.Symbolizer, results: Path, program: str) -> List[str]:
    lines = output(results, program)
    matches = [COMPARISON.match(line) for line in lines]
    problems = [f"not a comparison: {line}" for line, match in zip(lines, matches) if not match]
    source, definition = ODD_NUMBERS[program]
    odd = definition.search(source.read_text(encoding="utf-8"))
    if not odd:
        raise Failure(f"{source.relative_to(TOP)} no longer defines its odd number, which this check needs.")
    value = int(odd[1], 0)
    operands = {int(match[group], 16) for match in matches if match for group in (3, 4)}
    if value not in operands:
        problems.append(f"the number {value:#x} that the program passed was not compared")
    pcs = [int(match[1], 16) for match in matches if match]
    symbolizer.load(pcs)
    return problems + nameless(symbolizer, pcs)


def remote(symbolizer: symbolize.Symbolizer, results: Path, program: str) -> List[str]:
    """Checks that the program collects the work that its child causes, and also ends without any work."""
    symbolize.parse_pcs(output(results, program.replace("remote", "idle")))
    pcs = symbolize.parse_pcs(output(results, program))
    symbolizer.load(pcs)
    names = {frame.function for pc in pcs for frame in symbolizer.frames(pc)}
    problems = nameless(symbolizer, pcs)
    if not names & {WORK_CODE}:
        problems.append(f"none of its {len(pcs)} PCs is in {WORK_CODE}, which ran for it in a worker thread")
    return problems


def each_once(impl: str, symbolizer: symbolize.Symbolizer, results: Path) -> Result:
    name = f"{impl}: the sample unique: each PC once"
    complaint = (results / "unique.err").read_text(encoding="utf-8", errors="replace").strip()
    if (results / "unique.status").read_text(encoding="ascii").strip() != "0":
        if "no KCOV_UNIQUE_ENABLE" in complaint:
            return skipped(name, "this implementation has no KCOV_UNIQUE_ENABLE")
        return failed(name, complaint or "it printed nothing")
    # It prints the number of its PCs to its standard error.
    pcs = symbolize.parse_pcs((results / "unique.out").read_text(encoding="ascii").splitlines())
    symbolizer.load(pcs)
    names = {frame.function for pc in pcs for frame in symbolizer.frames(pc)}
    problems = [f"{pc:#x} occurs {times} times" for pc, times in Counter(pcs).items() if times > 1]
    problems += [f"no PC in {function}" for function in ("iterate_dir", "proc_pident_readdir") if function not in names]
    return verdict(name, problems)


def difference(traces: Dict[str, List[Place]]) -> List[str]:
    """Returns the difference between the traces of two implementations, in words."""
    (one, first), (other, second) = traces.items()
    lines = {
        impl: [" < ".join(f"{frame.function} {frame.place}" for frame in place) for place in trace]
        for impl, trace in traces.items()
    }
    if first == second:
        return []
    for index, (left, right) in enumerate(zip(lines[one], lines[other])):
        if left != right:
            return [f"line {index + 1}: {one} has {left}", f"line {index + 1}: {other} has {right}"]
    return [f"{one} has {len(first)} PCs, {other} has {len(second)}"]


def clippy() -> Result:
    """Runs clippy, which may suggest improvements of code that rustc compiles without a warning."""
    command = ["cargo", "clippy", "--quiet", "--locked", "--target-dir", BUILD / "cargo"]
    status, said = output_of([*command, "--manifest-path", SAMPLES / "rust/Cargo.toml", "--", "-D", "warnings"])
    return verdict("clippy does not warn about the samples in Rust", [said[-4000:]] if status else [])


def fuzzed_kernel(context: Context) -> Result:
    """Configures a kernel as the head of the fragment for syzkaller tells, and compares the result with the fragment."""
    name = "Kconfig takes the options for syzkaller"
    context.progress(name)
    fragment = SAMPLES / "fuzzing/kernel.config"
    wanted = kernel.Kernel(impl="rust", arch=context.arch, variant="syzkaller")
    tree, objects, log = kernel.prepare_tree(), wanted.objects, wanted.objects / "config.log"
    objects.mkdir(parents=True, exist_ok=True)
    merge = [str(tree / "scripts/kconfig/merge_config.sh"), "-m", "-O", str(objects), str(objects / ".config"), str(fragment)]
    for command in (wanted.make(tree, "defconfig", "kvm_guest.config"), merge, wanted.make(tree, "olddefconfig")):
        run_logged(log, name, command, env=wanted.environment(), cwd=objects)
    options = kconfig.parse(fragment.read_text(encoding="ascii"), shown(fragment))
    missing = kconfig.not_taken(options, kconfig.of_objects(objects))
    return verdict(name, [f"{option} is {got}, not {value}" for option, value, got in missing])


def manager() -> Result:
    """Reads the configuration of syz-manager as syz-manager does: without lines that begin with "#", as JSON."""
    text = (SAMPLES / "fuzzing/manager.cfg").read_text(encoding="ascii")
    problems = []
    try:
        json.loads(re.sub(r"(?m)^\s*#.*$", "", text))
    except ValueError as error:
        problems.append(str(error))
    return verdict("the configuration of syz-manager is JSON", problems)


def run(context: Context) -> Iterator[Result]:
    traces: Dict[str, Dict[str, List[Place]]] = {"pc": {}, f"{RUST}pc": {}}
    context.progress("clippy")
    yield clippy()
    yield manager()
    if context.arch == "x86_64":
        yield fuzzed_kernel(context)

    def judged(impl: str, symbolizer: symbolize.Symbolizer, results: Path, name: str) -> List[str]:
        program = name[len(RUST) :] if name.startswith(RUST) else name
        if program == "pc":
            traces[name][impl], problems = read_trace(symbolizer, results, name)
            return problems
        return (comparisons if program == "cmp" else remote)(symbolizer, results, name)

    def one(impl: str, obj: Path) -> Iterator[Result]:
        samples = {name: programs.build(SAMPLES / f"{name}.c", obj, context.arch) for name in PROGRAMS}
        samples.update({f"{RUST}{name}": path for name, path in crates.programs_of(SAMPLES / "rust", context.arch).items()})
        files = {f"/samples/{name}": path for name, path in samples.items()}
        files["/work"] = programs.of_suite("samples/work", obj, context.arch)
        files["/samples/unique"] = programs.build(SAMPLES / "unique.c", obj, context.arch)
        outcome = context.boot(guest.Guest(obj=obj, name=f"samples-{impl}", arch=context.arch, command=COMMAND, files=files))
        yield boot_result(f"{impl}: the kernel stays sound", outcome)
        if outcome.death:
            return
        symbolizer = symbolize.Symbolizer(obj)
        for name in samples:
            title = f"{impl}: the sample {name}"
            try:
                yield verdict(title, judged(impl, symbolizer, outcome.results, name))
            except Failure as failure:
                yield failed(title, str(failure))
        try:
            yield each_once(impl, symbolizer, outcome.results)
        except Failure as failure:
            yield failed(f"{impl}: the sample unique", str(failure))

    yield from each_kernel(context, one)
    for name, both in traces.items():
        if len(both) == 2:
            yield verdict(f"C and Rust give one trace of {name}", difference(both))
