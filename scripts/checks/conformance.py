# SPDX-License-Identifier: GPL-2.0
"""
The conformance suite, in guests of both implementations.

The same programs run on both. A list names each test that upstream's C fails, with the reason. Such a test must fail on
C, and only there; if it passes on C, the list is wrong.
"""

import re
from pathlib import Path
from typing import Dict, Iterator, List, Sequence, Set

from harness import guest, initramfs, kmemleak, programs, tap
from harness.arch import ARCHITECTURES
from harness.checklib import Context, Result, boot_result, each_kernel, failed, output_of, passed, skipped
from harness.console import Expected
from harness.hostlib import BUILD, TOP, Failure, replacing, shown, text_of

ORDER = 50
# The parts of this check are the programs of the suite.
HAS_PARTS = True

UPSTREAM_FAILURES = TOP / "tools/testing/selftests/kcov/upstream-failures.txt"
# The file with the number of sections that were not stopped where they were started. The implementation in C has no such
# file.
UNBALANCED = "/sys/kernel/debug/kcov_statistics/unbalanced"
# The exit status of a program that skips all its tests.
KSFT_SKIP = 4
# A program that takes longer than this has hung. With KMSAN on a busy host, a program takes many minutes.
PROGRAM_SECONDS = 1800

# The programs that use a sample module to start and stop sections incorrectly.
UNBALANCED_PROGRAMS = ("remote_balance_test",)
# A report of mac80211 on itself: a simulated radio may hand over a frame after it was stopped.
STOPPED_RADIO = Expected(
    r"WARNING: .*ieee80211_rx_list\+", "a frame was received by a radio that was stopped before", ("hwsim_test",)
)
# Reports of the implementation in Rust on the first incorrect section. It counts all of them, see COMMAND.
RUST_EXPECTED = (
    STOPPED_RADIO,
    Expected(
        r"WARNING: .*section10unbalanced", "a remote section was not stopped where it was started", UNBALANCED_PROGRAMS
    ),
    Expected(r"WARNING: .*section9malformed", "a section was started with a malformed handle", ("remote_handle_test",)),
)

# Additional reports on upstream's implementation, caused by bugs that the list of its failures names.
UPSTREAM_EXPECTED = (
    STOPPED_RADIO,
    Expected(r"WARNING: .*kcov_remote_start", "a section was started with a malformed handle", ("remote_handle_test",)),
    Expected(
        r"^(?:\S+: )?vmalloc error: size 2147483640, exceeds total pages",
        "the largest buffer that KCOV_INIT_TRACE takes is larger than the guest's memory",
        ("device_test", "memory_test"),
    ),
    Expected(r"dump_header\+", "KCOV_INIT_TRACE takes all memory and meets the OOM killer", ("memory_test",)),
    Expected(
        r"WARNING: .*__vmalloc_node_range",
        "a remote section with an area of no words reaches vmalloc()",
        ("remote_area_test",),
    ),
    Expected(
        r"^(?:\S+: )?vmalloc error: size 34359738360, exceeds total pages",
        "each remote section tries to allocate an area of 32 GiB",
        ("remote_area_test",),
    ),
)

# A file with the kernel's code, for guests in which /proc/kcore does not have it.
TEXT = "/kernel-text"
# A file with the kernel's configuration, because few kernels have it in /proc.
CONFIG = "/kernel-config"
# The line before each program assigns the kernel's reports to the program. COMMAND also records how the program changes
# the number of sections that were not stopped where they were started.
COMMAND = f"""
export KCOV_CONFIG={CONFIG}
[ -e {TEXT} ] && export KCOV_VMLINUX={TEXT}
{programs.LOAD_MODULES}
for program in /kcov/*; do
	name=${{program##*/}}
	echo "### $name"
	echo "### $name" >/dev/kmsg
	cat {UNBALANCED} >/results/$name.unbalanced 2>/dev/null
	{{ timeout -s KILL {PROGRAM_SECONDS} "$program"; echo $? >/results/$name.status; }} 2>&1 | tee /results/$name.tap
	cat {UNBALANCED} >>/results/$name.unbalanced 2>/dev/null
done
"""


def known_failures(path: Path) -> Dict[str, str]:
    """Reads the list: `program:test: reason` or `test: reason`, one per line."""
    if not path.exists():
        return {}
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.match(r"(\S+):\s+(\S.*)$", line)
        if not match:
            raise Failure(f"{shown(path)}:{number}: write `test-name: reason`.")
        found[match[1]] = match[2]
    return found


def judge(impl: str, program: str, test: tap.Test, known: Dict[str, str]) -> Result:
    title = f"{impl}: {program}: {test.name}"
    reason = known.get(f"{program}:{test.name}") or known.get(test.name)
    if impl == "c" and reason:
        if test.outcome == tap.FAILED:
            return passed(title, f"expected failure: {reason}")
        if test.outcome == tap.PASSED:
            return failed(title, f"passes, but is listed in {shown(UPSTREAM_FAILURES)}: {reason}")
    if test.outcome == tap.FAILED:
        said = [line.lstrip("# ") for line in test.diagnostics if re.match(r"#\s+\S+\.[ch]:\d+:", line)]
        return failed(title, "\n".join(said or test.diagnostics[-10:] or ["no message"]))
    if test.outcome == tap.SKIPPED:
        return skipped(title, test.reason or "no reason given")
    return passed(title)


def unbalanced(impl: str, program: str, results: Path) -> List[str]:
    """Returns problems with the number of sections that were not stopped where they were started."""
    numbers = (text_of(results / f"{program}.unbalanced") or "").split()
    if impl == "c":
        return []
    if len(numbers) != 2:
        return [f"{UNBALANCED} was not read both before and after the program"]
    more = int(numbers[1]) - int(numbers[0])
    if more and program not in UNBALANCED_PROGRAMS:
        return [f"{more} remote sections were not stopped by the context that started them"]
    return []


def program_results(impl: str, program: str, results: Path, known: Dict[str, str]) -> Iterator[Result]:
    output, status = results / f"{program}.tap", results / f"{program}.status"
    if not output.exists() or not status.exists():
        yield failed(f"{impl}: {program}", "has no result: the guest ended before or in it")
        return
    document = tap.parse(output.read_text(encoding="utf-8", errors="replace").splitlines())
    problems = document.problems + unbalanced(impl, program, results)
    code = int(status.read_text(encoding="ascii"))
    any_failed = any(test.outcome == tap.FAILED for test in document.tests)
    if code in (124, 137):
        problems.append(f"it was still running after {PROGRAM_SECONDS} seconds, or was killed")
    elif code not in (0, 1, KSFT_SKIP) or (code == 1) != any_failed:
        problems.append(f"its status {code} contradicts its results")
    if document.skipped is not None:
        yield skipped(f"{impl}: {program}", document.skipped)
    elif not document.tests:
        problems.append("it ran no test")
    for test in document.tests:
        yield judge(impl, program, test, known)
    if problems:
        yield failed(f"{impl}: {program}", "\n".join([*problems, f"its output: {shown(output)}"]))


class Progress:
    """Shows the test that ended last."""

    def __init__(self, context: Context, impl: str):
        self.context, self.impl, self.program = context, impl, ""

    def line(self, line: str) -> None:
        if line.startswith("### "):
            self.program = line[4:]
        match = re.match(r"(?:not )?ok \d+ (\S+)", line)
        if match:
            self.context.progress(f"{self.impl}, {self.program}: {match[1]}")


def kernel_text(obj: Path, arch: str) -> Dict[str, initramfs.Source]:
    """Returns the file TEXT, for guests that need one."""
    if ARCHITECTURES[arch].code_in_kcore:
        return {}
    target = BUILD / "programs" / arch / f"kernel-text-{obj.name}"
    with replacing(target) as partial:
        status, said = output_of(["strip", "-o", partial, obj / "vmlinux"])
        if status:
            raise Failure(f"the code of {shown(obj / 'vmlinux')} could not be copied: {said.strip()}")
    return {TEXT: target}


def chosen_programs(suite: Dict[str, Path], names: Sequence[str]) -> Dict[str, Path]:
    """Returns the programs with these names, or all programs if there are no names."""
    unknown = [name for name in names if name not in suite]
    if unknown:
        raise Failure(f"the suite has no program '{unknown[0]}'; it has: {' '.join(sorted(suite))}.")
    return {name: suite[name] for name in names} if names else suite


def run(context: Context) -> Iterator[Result]:
    known = known_failures(UPSTREAM_FAILURES)
    seen: Set[str] = set()

    def one(impl: str, obj: Path) -> Iterator[Result]:
        suite = chosen_programs(programs.selftests(obj, context.arch), context.parts)
        files: Dict[str, initramfs.Source] = {f"/kcov/{name}": path for name, path in suite.items()}
        files[CONFIG] = obj / ".config"
        files.update(kernel_text(obj, context.arch))
        files.update(programs.sample_modules(obj))
        boot = guest.Guest(
            obj=obj,
            name=f"conformance-{impl}",
            arch=context.arch,
            command=COMMAND,
            files=files,
            timeout=60 + PROGRAM_SECONDS * len(suite),
            expected=UPSTREAM_EXPECTED if impl == "c" else RUST_EXPECTED,
        )
        outcome = guest.boot(kmemleak.watched(boot), Progress(context, impl).line)
        yield boot_result(f"{impl}: the kernel stays sound", outcome)
        if outcome.death:
            tail = "\n".join(outcome.output.splitlines()[-5:])
            yield failed(f"{impl}: the suite was cut short", f"the end of its output:\n{tail}")
            return
        for program in suite:
            for result in program_results(impl, program, outcome.results, known):
                _, _, test = result.name.partition(": ")
                seen.update((test.replace(": ", ":"), test.rpartition(": ")[2]))
                yield result
        yield from kmemleak.judge(impl, outcome)

    yield from each_kernel(context, one)
    # Without all of the results, the list cannot be checked for names that no test has.
    if "c" in context.impls and seen and not context.parts:
        for name in sorted(set(known) - seen):
            yield failed(f"{shown(UPSTREAM_FAILURES)}: {name}", "the suite has no test of this name; remove the line.")
