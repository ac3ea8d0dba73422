# SPDX-License-Identifier: GPL-2.0
"""
The expected skips of `make test`, and the judgement of all other skips.

On the default kernels of x86-64, a skip that is not in this list is a failure, and so is an entry of this list without
a skip. Other kernels (another architecture, another compiler, a kernel that was built before, the cells of the matrix)
lack other features: their skips are only listed.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

from .checklib import FAILED, SKIPPED, Result, failed
from .hostlib import HARNESS, shown


@dataclass(frozen=True)
class Skip:
    """An expected skip: the check, the names of results, the words of the reason, and why the skip loses nothing."""

    check: str
    # A shell pattern for the name of the result, after the implementation if the name begins with one.
    name: str
    # A shell pattern for the reason that the check or the test prints.
    said: str
    reason: str
    # The implementations on which it is skipped; empty if the result is not about an implementation.
    impls: Tuple[str, ...] = ()
    # True if the skip depends on the machine that runs the checks, so that it may be absent.
    machine: bool = False

    def names(self, impls: Sequence[str]) -> Tuple[str, ...]:
        """Returns the patterns for whole names of results, for each of the tested implementations."""
        return tuple(f"{impl}: {self.name}" for impl in self.impls if impl in impls) if self.impls else (self.name,)


RUST, C = ("rust",), ("c",)
NO_UNIQUE = "this implementation has no KCOV_UNIQUE_ENABLE"
NO_STATISTICS = "this implementation has no statistics"
EXTENSION = "an extension of the implementation in Rust"
NESTING = "documented under Nesting, and fatal to the tests after it"

SKIPS: Tuple[Skip, ...] = (
    Skip(
        "conformance",
        "faults_test: *",
        "no /proc/thread-self/fail-nth (CONFIG_FAULT_INJECTION)",
        "faults slow all allocations down, so a kernel of the matrix has them (the cell `faults`)",
        RUST + C,
    ),
    Skip(
        "conformance",
        "hwsim_test: *",
        "no simulated radio (CONFIG_MAC80211_HWSIM)",
        "a kernel of the matrix has the wireless stack (the cell `hwsim`)",
        RUST + C,
    ),
    Skip(
        "conformance",
        "preemptirq_test: *",
        "no tracepoints of disabled interrupts (CONFIG_PREEMPTIRQ_TRACEPOINTS)",
        "they slow the kernel down, so a kernel of the matrix has them (the cell `tracing`)",
        RUST + C,
    ),
    Skip(
        "conformance",
        "pages_test: pages.protection_key",
        "no protection keys",
        "the kernel takes the key of a page that is mapped later from the mapping, as it takes the protection",
        RUST + C,
    ),
    Skip("conformance", "pages_test: fork_trace.*", "this implementation has no KCOV_RESET_TRACE", EXTENSION, C),
    Skip("conformance", "both_test: *", "this implementation has no KCOV_PC_CMP_ENABLE", EXTENSION, C),
    Skip("conformance", "forged_divided_test: *", NO_UNIQUE, EXTENSION, C),
    Skip("conformance", "remote_divided_test: *", NO_UNIQUE, EXTENSION, C),
    Skip("conformance", "unique_test: *", NO_UNIQUE, EXTENSION, C),
    Skip("conformance", "edge_test: *", "this implementation has no KCOV_EDGE_ENABLE", EXTENSION, C),
    Skip("conformance", "options_test: mode.unique.*", "this implementation divides no buffers", EXTENSION, C),
    Skip("conformance", "options_test: mode.both.*", "this implementation divides no buffers", EXTENSION, C),
    Skip("conformance", "options_test: mode.edge.*", "this implementation divides no buffers", EXTENSION, C),
    Skip("conformance", "disable_any_test: *", "this implementation has no KCOV_DISABLE_ANY", EXTENSION, C),
    Skip(
        "conformance",
        "disable_any_test: any.remote.inside_another_command",
        "a task has one descriptor for remote sections",
        "the other descriptor is for remote sections, too",
        RUST,
    ),
    Skip("conformance", "reset_test: *", "this implementation has no KCOV_RESET_TRACE", EXTENSION, C),
    Skip("conformance", "fdinfo_test: *", "this implementation adds nothing to fdinfo", EXTENSION, C),
    Skip("conformance", "remote_handle_test: *", "this implementation warns about it, *", NESTING, C),
    Skip("conformance", "remote_interrupt_test: *", "this implementation warns about the task's section", NESTING, C),
    Skip("conformance", "remote_merge_test: ends.reset.*", "this implementation has no KCOV_RESET_TRACE", EXTENSION, C),
    Skip(
        "conformance",
        "remote_merge_test: pieces.*",
        "this implementation appends a section in one piece",
        "nothing can come in between",
        C,
    ),
    Skip("conformance", "remote_nested_test: *", "this implementation warns about it*", NESTING, C),
    Skip("conformance", "remote_order_test: *", "this implementation warns about a section in a section", NESTING, C),
    Skip("conformance", "remote_parts_test: softirq.both.*", "this implementation has no KCOV_PC_CMP_ENABLE", EXTENSION, C),
    Skip("conformance", "remote_parts_test: task.*", NO_UNIQUE, EXTENSION, C),
    Skip("conformance", "remote_pool_test: *", "this implementation warns about it", NESTING, C),
    Skip("conformance", "remote_atomic_test: *", NO_STATISTICS, "only the numbers tell that a section was lost", C),
    Skip("conformance", "remote_pool_test: *", NO_STATISTICS, "only the numbers tell what the areas take", C),
    Skip(
        "conformance",
        "history_test: history.section_inside_a_section",
        "this implementation warns about it",
        NESTING,
        C,
    ),
    Skip(
        "conformance",
        "remote_refused_test: *",
        "this implementation warns about sections inside each other",
        NESTING,
        C,
    ),
    Skip(
        "conformance",
        "remote_balance_test: *",
        "this implementation is damaged by it",
        NESTING,
        C,
    ),
    Skip(
        "conformance",
        "hooks_test: *",
        "the hooks of this kernel are never switched (CONFIG_KCOV_C)",
        "an optimization of the implementation in Rust",
        C,
    ),
    Skip(
        "conformance",
        "sites_test: *",
        "the calls of this kernel are not known (no CONFIG_KCOV_SITES)",
        "an optimization of the implementation in Rust",
        C,
    ),
    Skip("conformance", "filter_test: *", "this kernel cannot filter (no CONFIG_KCOV_SITES)", EXTENSION, C),
    Skip("conformance", "filter_lines_test: *", "this kernel cannot filter (no CONFIG_KCOV_SITES)", EXTENSION, C),
    Skip("samples", "the sample unique: each PC once", NO_UNIQUE, EXTENSION, C),
    Skip("unique", "each PC once", NO_UNIQUE, EXTENSION, C),
    Skip(
        "modules",
        "kcov_sample: its code has names and lines",
        "it is not loadable (CONFIG_SAMPLE_KCOV_MODULE)",
        "other checks need it in the image; in the cell `modules` of the matrix it is loadable, too",
        RUST + C,
    ),
    Skip("tools", "kcov: *", "the kernel does not divide buffers: *", EXTENSION, C),
    Skip("tools", "foreign::*", "*was not found", "`make setup` installs no GCC and binutils for other machines", machine=True),
    Skip("tools", "foreign::*", "clang and ld.lld were not found", "LLVM=gcc needs neither", machine=True),
    Skip("tools", "halves::*", "a llvm-dwp that works was not found", "LLVM=gcc needs no LLVM", machine=True),
    Skip("tools", "halves::*", "a llvm-objcopy with zstd was not found", "zlib is tested, too", machine=True),
    Skip("tools", "reports::*", "genhtml was not found", "lcov's rule is in the test, too", machine=True),
    Skip("tools", "*", "*Chromium*", "it could not be installed; `scripts/setup.sh browser` shows why", machine=True),
    Skip(
        "tools",
        "*",
        "a seccomp filter is in force, as in most containers",
        "the machine that runs the checks decides about it",
        machine=True,
    ),
    Skip(
        "report",
        "the report in a browser",
        "there is no Chromium, *",
        "it could not be installed; `scripts/setup.sh browser` shows why",
        RUST + C,
        machine=True,
    ),
    Skip("counts", "instructions", "only those of the implementation in Rust are listed", "the list is for changes of ours", C),
    Skip(
        "counts",
        "rust: as many instructions as the list has",
        "the list has no counts for *",
        "it is for the compilers of its authors",
        machine=True,
    ),
    Skip(
        "bench",
        "sections at native speed",
        "they need two CPUs, and there is one",
        "the machine that runs the checks has only one",
        machine=True,
    ),
)


def expected(check: str, result: Result, impls: Sequence[str], skips: Sequence[Skip] = SKIPS) -> Optional[Tuple[Skip, str]]:
    """Returns the entry that expects a skip, and its pattern that matches the name."""
    for skip in skips:
        if skip.check == check and fnmatchcase(result.detail, skip.said):
            for pattern in skip.names(impls):
                if fnmatchcase(result.name, pattern):
                    return skip, pattern
    return None


def judge(check: str, results: Sequence[Result], impls: Sequence[str], skips: Sequence[Skip] = SKIPS) -> Iterator[Result]:
    """Yields the results of a check on the default kernels, with unexpected skips turned into failures."""
    seen = set()
    for result in results:
        found = expected(check, result, impls, skips) if result.outcome == SKIPPED else None
        if found:
            seen.add(found)
        elif result.outcome == SKIPPED:
            detail = f"it was skipped, which {shown(HARNESS / 'skips.py')} does not expect: {result.detail}"
            result = failed(result.name, detail)
        yield result
    # A check that failed may have ended before its skips.
    if any(result.outcome == FAILED for result in results):
        return
    for skip in skips:
        if skip.check == check and not skip.machine:
            for pattern in skip.names(impls):
                if (skip, pattern) not in seen:
                    yield failed(
                        f"the expected skip of {pattern}",
                        f"nothing was skipped with `{skip.said}`; remove it from {shown(HARNESS / 'skips.py')}.",
                    )


def summary(results: Sequence[Result]) -> List[str]:
    """Returns one line for all results that were skipped for the same reason."""
    groups: Dict[str, List[str]] = {}
    for result in results:
        if result.outcome == SKIPPED:
            groups.setdefault(result.detail, []).append(result.name)
    return [f"{brief(names)}: {said}" for said, names in groups.items()]


def brief(names: Sequence[str]) -> str:
    """Returns one or two names in full, or the first of more names and the number of the others."""
    return ", ".join(names) if len(names) < 3 else f"{names[0]} and {len(names) - 1} more"
