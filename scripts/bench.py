#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""
`make bench`: measures the implementations of KCOV in C and in Rust, on kernels that were built from one tree with one
configuration. Prints a table, and writes build/bench/results.json and build/bench/results.svg.

  hooks    the cost of a hook call at native speed (ticks of the time stamp counter, and instructions)
  calls    the cost of system calls in a guest whose emulator counts instructions
  executor the cost of what a fuzzer's executor does around each of its programs, in the same guest
  remote   the cost of remote sections: at native speed if no task collects them, in the same guest, and in a guest with
           two CPUs at the same time
  native   the time of the same system calls in user-mode Linux, which runs at native speed
  size     code, data, fields of a task, memory of descriptors, handles and areas

A missed target is marked in the table. The status is 1 only if something could not be measured. Ticks can be compared
with each other, not with ticks of another machine. Nothing else should run during the measurement.
"""

import argparse
import os
import re
from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple

from harness import guest, kernel
from harness.arch import chosen
from harness.bench import boots, calls, counts, executor, figures, hooks, native_calls, native_sections, plot, remote, size
from harness.bench.figures import IMPLS, Figure
from harness.hostlib import BUILD, Failure, Progress, command_output, die, main, results_in, say, shown, step, warn, write_results

OUT = BUILD / "bench"
PARTS = ("hooks", "calls", "executor", "native", "remote", "size")
# The number of boots of the guest with two CPUs.
TIMED_BOOTS = 3
PICTURE = "KCOV in Rust against C"

Objects = Dict[str, Path]


def object_directories(given: List[str]) -> Objects:
    """Returns the kernels: the named ones, or both implementations built from the same tree."""
    objs: Objects = {}
    for pair in given:
        impl, separator, directory = pair.partition("=")
        if impl not in IMPLS or not separator:
            die(f"--obj takes c=DIR or rust=DIR, not '{pair}'.")
        objs[impl] = Path(directory).absolute()
        if not (objs[impl] / ".config").exists():
            die(f"{directory} is not an object directory of a kernel: it has no .config.")
    for impl in IMPLS:
        if impl not in objs:
            objs[impl] = kernel.build(kernel.Kernel(impl=impl, arch="x86_64"))
    differences = different_options(objs)
    if differences:
        warn(f"the two kernels differ in more than KCOV's implementation: {', '.join(differences)}")
    return objs


def different_options(objs: Objects) -> List[str]:
    """Returns options that only one of the two kernels has, except those that the choice of the implementation decides."""
    configs = [
        {line for line in (objs[impl] / ".config").read_text().splitlines() if line.startswith("CONFIG_")}
        for impl in IMPLS
    ]
    return sorted(line for line in configs[0] ^ configs[1] if "KCOV" not in line and "_VERSION_TEXT" not in line)


def measure_counting(objs: Objects, parts: List[str], smoke: bool, progress: Callable[[str], None]) -> List[Figure]:
    """Measures in the guest that counts instructions."""
    outcomes: Dict[str, guest.Outcome] = {}
    for impl in IMPLS:
        work = []
        # This part runs first, because later parts leave memory allocated.
        if "size" in parts:
            work.append(size.boot(smoke))
        if "calls" in parts:
            work.append(calls.boot(objs, smoke))
        if "executor" in parts:
            work.append(executor.boot(objs, smoke))
        if "remote" in parts or "size" in parts:
            work.append(remote.boot(impl, objs, remote.COUNTED if "remote" in parts else (), smoke))
        outcomes[impl] = boots.run(f"{impl}-counting", objs[impl], work, True, progress)
    found: List[Figure] = []
    of_parts = (
        ("calls", calls.figures),
        ("executor", executor.figures),
        ("remote", remote.counted_figures),
        ("size", size.guest_figures),
    )
    for part, of in of_parts:
        found += of(outcomes) if part in parts else []
    return found


def measure_timed(objs: Objects, smoke: bool, progress: Callable[[str], None]) -> List[Figure]:
    """Measures in the guests with two CPUs. The implementations take turns."""
    outcomes: Dict[str, List[guest.Outcome]] = {impl: [] for impl in IMPLS}
    for number in range(1 if smoke else TIMED_BOOTS):
        for impl in IMPLS if number % 2 else reversed(IMPLS):
            work = [remote.boot(impl, objs, remote.TIMED, smoke)]
            outcomes[impl].append(boots.run(f"{impl}-timed-{number}", objs[impl], work, False, progress))
    return remote.timed_figures(outcomes)


def measure(objs: Objects, parts: List[str], cpu: int, smoke: bool) -> Tuple[List[Figure], List[str]]:
    """Returns all figures, and a message for each measurement that failed."""
    found: List[Figure] = []
    failures: List[str] = []
    counting = [part for part in parts if part not in ("hooks", "native")]
    # These kernels are built before anything is measured.
    user_mode = native_calls.kernels() if "native" in parts else {}
    # The short run skips measurements that the machine does not support. For a full run, they count as failed.
    sections = "remote" in parts and not (smoke and native_sections.cpus_missing())
    steps: List[Tuple[str, bool, Callable[[Callable[[str], None]], List[Figure]]]] = [
        ("the hooks", "hooks" in parts, lambda progress: hooks.measure(objs, cpu, smoke, progress)),
        ("sections at native speed", sections, lambda progress: native_sections.measure(objs, smoke, progress)),
        ("code and data", "size" in parts, lambda progress: size.object_figures(objs)),
        ("instructions in a guest", bool(counting), lambda progress: measure_counting(objs, counting, smoke, progress)),
        ("user-mode Linux", "native" in parts, lambda progress: native_calls.measure(user_mode, cpu, progress)),
        ("two CPUs in a guest", "remote" in parts, lambda progress: measure_timed(objs, smoke, progress)),
    ]
    for title, wanted, run in steps:
        if not wanted:
            continue
        progress = Progress(f"Measuring {title}")
        try:
            found += run(progress.show)
            progress.end("done")
        except (Failure, ValueError) as problem:
            progress.end("failed")
            failures.append(f"{title}: {problem}")
    return in_order(found), failures


def part_of(figure: Figure) -> str:
    """Returns the part that measures a figure."""
    return "native" if figure.name.startswith("calls.") and figure.name.endswith(".native") else figure.name.split(".")[0]


def in_order(found: List[Figure]) -> List[Figure]:
    return sorted(found, key=lambda figure: PARTS.index(part_of(figure)))


def machine() -> str:
    """Describes the machine and the programs with which the figures were measured."""
    model = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    emulator = (command_output("qemu-system-x86_64", "--version") or "no QEMU").splitlines()[0]
    compiler = kernel.Kernel(arch="x86_64").compiler_name()
    rustc = " ".join((command_output("rustc", "--version") or "no rustc").split()[:2])
    return (
        f"{len(os.sched_getaffinity(0))} CPUs ({model[1].strip() if model else os.uname().machine}), "
        f"Linux {os.uname().release}, {emulator}, {compiler}, {rustc}"
    )


def markdown(found: List[Figure]) -> str:
    """Returns the table for the documentation."""
    lines = ["| " + " | ".join(figures.COLUMNS) + " |", "| --- | --- | ---: | ---: | ---: | --- | --- |"]
    lines += ["| " + " | ".join(row) + " |" for row in figures.rows(found)]
    return "\n".join(lines)


def document(path: Path, found: List[Figure], parts: List[str]) -> None:
    """
    Writes the results into a document, between two marks, and the picture next to it. Results of parts that were not
    measured stay.
    """
    plot_path = path.with_suffix(".svg")
    head = f"{machine()}\n\n![Rust against C, for each figure]({plot_path.name})"
    if set(parts) != set(PARTS):
        earlier = results_in(path)
        head = earlier.partition("\n|")[0].strip() or head
        kept = figures.from_rows(earlier.splitlines())
        found = in_order(found + [figure for figure in kept if part_of(figure) not in parts])
    write_results(path, f"{head}\n\n{markdown(found)}")
    plot_path.write_text(plot.draw(found, PICTURE), encoding="utf-8")


def update_counts(given: List[str]) -> None:
    """Updates the list of counted instructions for one kernel."""
    named = dict(pair.split("=", 1) for pair in given if "=" in pair)
    if len(named) != len(given) or set(named) - {"rust"}:
        die("--update-counts counts the implementation in Rust: --obj takes rust=DIR.")
    given_obj = named.get("rust")
    obj = Path(given_obj).absolute() if given_obj else kernel.build(kernel.Kernel(impl="rust", arch=chosen()))
    if not counts.runs_here(counts.Kernel.of(obj)):
        warn("this machine cannot run the code of that kernel, so the list gets only the paths through its hooks.")
    step(f"{shown(counts.LIST)} has the counts of {counts.update(obj)}")


def command_interface(arguments: List[str]) -> Optional[int]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--obj", action="append", default=[], metavar="IMPL=DIR", help="a kernel that is built already")
    parser.add_argument("--only", action="append", default=[], choices=PARTS, help="a part (repeatable)")
    parser.add_argument("--smoke", action="store_true", help="measure briefly: tests the benchmark; the figures are not usable")
    parser.add_argument("--cpu", type=int, help="the CPU that the hooks and user-mode Linux are measured on (the last one)")
    parser.add_argument(
        "--document",
        type=Path,
        metavar="FILE",
        help="also write the results into this document; results of other parts stay",
    )
    parser.add_argument(
        "--update-counts",
        action="store_true",
        help="measure nothing; put the number of instructions of the implementation in Rust into the list that `make test` "
        "compares with (for the kernel of ARCH=, or of --obj rust=DIR)",
    )
    options = parser.parse_args(arguments)
    if options.update_counts:
        update_counts(options.obj)
        return None
    if options.document:
        # A document without marks must fail now, not after the measurements.
        results_in(options.document)
    if os.uname().machine != "x86_64" or (os.environ.get("ARCH") or "x86_64") not in ("x86_64", "x86"):
        die("the benchmark needs an x86_64 machine, and measures kernels for x86_64.")
    cpu = max(os.sched_getaffinity(0)) if options.cpu is None else options.cpu

    objs = object_directories(options.obj)
    # The short run leaves out `native`, for which other kernels would have to be built.
    parts = options.only or [part for part in PARTS if part != "native" or not options.smoke]
    found, failures = measure(objs, parts, cpu, options.smoke)

    say()
    say(machine())
    say()
    for line in figures.table(found):
        say(line)
    say()
    OUT.mkdir(parents=True, exist_ok=True)
    name = "smoke" if options.smoke else "results"
    results, plot_path = OUT / f"{name}.json", OUT / f"{name}.svg"
    results.write_text(figures.as_json(found), encoding="utf-8")
    plot_path.write_text(plot.draw(found, PICTURE), encoding="utf-8")
    if options.document and not failures:
        document(options.document, found, parts)
    missed = sum(figure.met is False for figure in found)
    targets = sum(figure.met is not None for figure in found)
    step(
        f"{len(found)} figures, {targets - missed} of {targets} targets met "
        f"({shown(results)}, {shown(plot_path)})"
    )
    if options.smoke:
        step("This was a short run: do not use its figures.")
    for failure in failures:
        warn(f"not measured: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    main(command_interface)
