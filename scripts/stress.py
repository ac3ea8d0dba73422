#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""
`make stress`: runs KCOV under stress in a kernel with debugging options, and checks the results.

  stress.py [--impl rust|c] [--rounds N] [--seed N] [--smp N] [--obj DIR]

The kernel has scripts/config/debug.config. A round takes half a minute or more in emulation. The program in
tools/testing/selftests/kcov/stress calls the kernel from many threads, in random order. The same seed gives the same
order in each thread.
"""

import argparse
import re
from dataclasses import replace
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

from harness import guest, kmemleak, programs
from harness.checklib import FAILED, Result, boot_result, failed, passed, verdict
from harness.hostlib import TOP, Progress, die, duration, main, say, shown, text_of

SAMPLES = TOP / "samples/kcov"
DEVICES = ("kcov-sample", "rust-kcov-sample")

# The number of switches per round, on kernels whose hooks can be switched.
SWITCHES = 4
# Events that the program counts, but that need not happen on every kernel.
OPTIONAL = {"usb_devices", "switches", "peak_descriptors", "lost_sections", "areas", "area_bytes", "unknown"}
# Events that only the implementation in Rust has.
ONLY_RUST = {
    "nested_sections",
    "unique_enabled",
    "unique_traces",
    "both_enabled",
    "edges_enabled",
    "both_traces",
    "remote_divided",
    "resets",
    "resets_of_others",
    "disabled_others",
}
LEAST_DESCRIPTORS = 100

COMMAND = programs.LOAD_MODULES + """
{ /stress OPTIONS; echo $? >/results/stress.status; } 2>&1 | tee /results/stress.txt
for device in DEVICES; do
	for option in NESTED; do
		name=collect$option-$device
		/collect ${option#-plain} /dev/$device >/results/$name.txt 2>&1
		echo $? >/results/$name.status
	done
done
cat /proc/lockdep_stats >/results/lockdep 2>/dev/null
:
"""


def make_guest(impl: str, obj: Path, arch: str, rounds: int, seed: int, seconds: float) -> guest.Guest:
    """Returns the guest of a run, which may take SECONDS."""
    files = {
        "/stress": programs.of_suite("stress/stress", obj, arch),
        "/collect": programs.build(SAMPLES / "collect.c", obj, arch),
    }
    files.update(programs.sample_modules(obj))
    options = f"-r {rounds} -s {seed}" + (" -u" if impl == "c" else "")
    nested = "-plain" if impl == "c" else "-plain -n"
    command = COMMAND.replace("OPTIONS", options).replace("DEVICES", " ".join(DEVICES)).replace("NESTED", nested)
    boot = guest.Guest(obj=obj, name=f"stress-{obj.name}", arch=arch, command=command, files=files, timeout=seconds)
    return kmemleak.watched(boot)


def counters(text: str) -> Dict[str, int]:
    """Returns the number of times that each event happened."""
    return {match[1]: int(match[2]) for match in re.finditer(r"^(\w+) (-?\d+)$", text, re.MULTILINE)}


def judge_program(impl: str, rounds: int, outcome: guest.Outcome) -> Iterator[Result]:
    text = text_of(outcome.results / "stress.txt") or ""
    status = (text_of(outcome.results / "stress.status") or "").strip()
    problems = [line for line in text.splitlines() if line.startswith("error: ")]
    if status != "0" and not problems:
        problems.append(f"the program ended with status {status or 'unknown'}")
    yield verdict(f"{impl}: every call has a known result, and all that was made goes away", problems)
    if problems:
        return
    count = counters(text)
    optional = OPTIONAL | (set() if impl == "rust" else ONLY_RUST)
    missing = [name for name, value in count.items() if not value and name not in optional]
    if impl == "rust":
        if count.get("peak_descriptors", 0) < LEAST_DESCRIPTORS:
            missing.append(f"{LEAST_DESCRIPTORS} descriptors at one time")
        if outcome.guest.has("CONFIG_JUMP_LABEL") and count.get("switches") != SWITCHES * rounds:
            missing.append(f"{SWITCHES * rounds} switches of the hooks (there were {count.get('switches')})")
    if outcome.guest.has("CONFIG_USB_RAW_GADGET") and not count.get("usb_devices"):
        missing.append("usb_devices")
    problems = [f"did not happen: {', '.join(missing)}"] if missing else []
    if impl == "rust" and count.get("unknown"):
        problems.append(f"calls that this implementation has were unknown: {count['unknown']}")
    if not count:
        problems.append("the program counted nothing")
    yield verdict(f"{impl}: everything happened that should", problems)


def judge_sections(impl: str, outcome: guest.Outcome) -> Iterator[Result]:
    for path in sorted(outcome.results.glob("collect*.status")):
        name = f"{impl}: sections work afterwards: {path.stem[len('collect-'):]}"
        text = text_of(path.with_suffix(".txt")) or ""
        yield passed(name) if text_of(path) == "0\n" and text else failed(name, text or "nothing was collected")


def judge_debugging(impl: str, outcome: guest.Outcome) -> Iterator[Result]:
    yield from kmemleak.judge(impl, outcome)
    if outcome.guest.has("CONFIG_PROVE_LOCKING"):
        name = f"{impl}: lockdep is awake at the end"
        alive = re.search(r"^\s*debug_locks:\s*1$", text_of(outcome.results / "lockdep") or "", re.MULTILINE)
        yield passed(name) if alive else failed(name, "debug_locks in /proc/lockdep_stats is not 1")


def judge(impl: str, rounds: int, outcome: guest.Outcome) -> Iterator[Result]:
    """Yields all results of a run."""
    yield boot_result(f"{impl}: the kernel stays sound", outcome)
    if outcome.death:
        return
    yield from judge_program(impl, rounds, outcome)
    yield from judge_sections(impl, outcome)
    yield from judge_debugging(impl, outcome)


def run(impl: str, arch: str, obj: Path, rounds: int, seed: int, smp: int) -> Tuple[List[Result], guest.Outcome]:
    # Several times the duration on an idle machine.
    boot = replace(make_guest(impl, obj, arch, rounds, seed, 1800 + 300 * rounds), smp=smp)
    progress = Progress(f"Stress of {shown(obj)}, {rounds} rounds")

    def on_output(line: str) -> None:
        if line.startswith("# "):
            progress.show(line[2:])
        elif line.startswith("error: "):
            say(line)

    outcome = guest.boot(boot, on_output)
    return list(judge(impl, rounds, outcome)), outcome


def command_interface(arguments: List[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    guest.kernel_options(parser)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--smp", type=int, default=guest.Guest.smp, help="the number of the guest's CPUs")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        die("--rounds must be 1 or more.")
    if options.obj:
        obj = options.obj.absolute()
    else:
        # With --obj nothing is built.
        from harness import kernel

        obj = kernel.build(kernel.Kernel(impl=options.impl, arch=options.arch, fragments=["debug"]))
    results, outcome = run(options.impl, options.arch, obj, options.rounds, options.seed, options.smp)
    for result in results:
        say(f"    {result.outcome:8} {result.name}")
        for line in result.detail.splitlines():
            say(f"             {line}")
    say(outcome.output.rstrip())
    bad = [result for result in results if result.outcome == FAILED]
    say(f"{len(results) - len(bad)} passed, {len(bad)} failed, {duration(outcome.total_time)} (log: {shown(outcome.log)})")
    return 1 if bad or not results else 0


if __name__ == "__main__":
    main(command_interface)
