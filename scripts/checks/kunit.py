# SPDX-License-Identifier: GPL-2.0
"""
The tests that the kernels run while they boot: KUnit's suites, and the self test of KCOV.
"""

import re
from pathlib import Path
from typing import Iterator, List

from harness import guest, kconfig, kunit, programs
from harness.checklib import FAILED, PASSED, SKIPPED, Context, Result, boot_result, each_kernel, failed, passed, skipped
from harness.hostlib import TOP, shown

ORDER = 60

SUITE = "kcov"
# The options of these suites. Some of them test only the implementation in Rust, so C's kernel may have none.
OPTION = re.compile(r"CONFIG_KCOV_\w*KUNIT_TEST$")
# The declaration of a suite in our files.
DECLARED = re.compile(r"^\s*#\[kunit_tests\((\w+)\)\]$", re.MULTILINE)
# The examples in the documentation of the `kernel` crate. Only examples in our files are checked.
DOCTEST_OPTION = "CONFIG_RUST_KERNEL_DOCTESTS"
DOCTEST_SUITE = "rust_doctests_kernel"
SELFTEST_END = re.compile(r"kcov: (done running self test|self test passed)")


def doctests(impl: str, report: kunit.Report) -> Iterator[Result]:
    """Yields a result for each file of ours in the `kernel` crate that has examples, from the results of its examples."""
    crate = TOP / "rust/kernel"
    files = [path for path in sorted(crate.rglob("*.rs")) if "/// ```\n" in path.read_text(encoding="utf-8")]
    results = [leaf for suite in report.suites if suite.name == DOCTEST_SUITE for leaf in kunit.leaves(suite)]
    for path in files:
        prefix = re.sub(r"\W", "_", f"rust_doctest_kernel/{path.relative_to(crate)}")
        mine = [(name, test) for name, test in results if re.fullmatch(prefix + r"_\d+", name)]
        title = f"{impl}: examples in {path.relative_to(TOP)}"
        problems = [f"{name}: {kunit.outcome(test)}" for name, test in mine if kunit.outcome(test) != PASSED]
        if not mine:
            problems.append(f"none of them ran ({DOCTEST_OPTION})")
        yield failed(title, "\n".join(problems)) if problems else passed(title)


def declared() -> List[str]:
    """Returns the suites in our files, which are the suites of the implementation in Rust."""
    files = [path for directory in ("kcov", "rust") for path in sorted((TOP / directory).rglob("*.rs"))]
    return [name for path in files for name in DECLARED.findall(path.read_text(encoding="utf-8"))]


def suites(impl: str, report: kunit.Report) -> Iterator[Result]:
    if report.problems:
        yield failed(f"{impl}: the report of KUnit", "\n".join(report.problems))
    found = False
    for suite in report.suites:
        if not suite.name.startswith(SUITE):
            continue
        leaves = list(kunit.leaves(suite))
        if not leaves:
            yield failed(f"{impl}: {suite.name}", "has no test")
        for name, test in leaves:
            found = True
            title = f"{impl}: {suite.name}: {name}"
            if kunit.outcome(test) == FAILED:
                yield failed(title, "\n".join(line.strip() for line in test.log[-12:]) or "no message")
            elif kunit.outcome(test) == SKIPPED:
                yield skipped(title, test.skip_reason or "no reason given")
            else:
                yield passed(title)
    ran = {suite.name for suite in report.suites}
    for name in declared() if impl == "rust" else ():
        if name not in ran:
            yield failed(f"{impl}: {name}", "did not run")
    if not found:
        yield failed(f"{impl}: KUnit", f"no suite whose name begins with '{SUITE}' ran")


def run(context: Context) -> Iterator[Result]:
    def one(impl: str, obj: Path) -> Iterator[Result]:
        boot = guest.Guest(obj=obj, name=f"kunit-{impl}", arch=context.arch, kernel_args=("kunit.enable=1", "kunit.autorun=1"))
        outcome = context.boot(boot)
        yield boot_result(f"{impl}: the kernel boots", outcome)
        lines = outcome.console_lines()
        report = kunit.read(programs.tree_of(obj), lines)
        config = kconfig.of_objects(obj)
        if any(OPTION.match(name) and value == "y" for name, value in config.items()):
            yield from suites(impl, report)
        elif impl == "rust":
            yield failed(f"{impl}: KUnit", f"its tests are not built: no CONFIG_KCOV_*KUNIT_TEST=y in {shown(obj / '.config')}")
        yield from doctests(impl, report)
        if config.get("CONFIG_KCOV_SELFTEST") == "y":
            complete = any(SELFTEST_END.search(line) for line in lines)
            name = f"{impl}: interrupts leave no coverage at boot"
            yield passed(name) if complete else failed(name, f"the self test did not end; see {shown(outcome.log)}")

    yield from each_kernel(context, one)
