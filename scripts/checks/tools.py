# SPDX-License-Identifier: GPL-2.0
"""
The user-space crates: their tests on the host and in guests, clippy and their documentation.
"""

import re
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

from harness import browser, crates, guest, kconfig, programs, tap
from harness.arch import ARCHITECTURES
from harness.checklib import LOGS, Context, Result, boot_result, each_kernel, failed, passed, run_tool, skipped
from harness.hostlib import shown

# After the checks of the host, because guests boot here.
ORDER = 57

GUEST_TEST = crates.WORKSPACE / "guest/test.sh"
FIXTURE = crates.WORKSPACE / "kcov-trace/tests/fixture/tasks.c"
# /tools/work makes the sample module work for a process in another task. Each of the two test programs takes half a
# minute in an emulator on an idle machine.
COMMAND = """
export KCOV_UNIQUE={unique} KCOV_WORK=/tools/work
KCOV_REQUIRED=1 /tools/device --show-output >/results/device.log 2>&1
echo $? >/results/device.status
sh /tools/test.sh /bin/kcov-trace /tools/tasks /results >/results/tools.tap 2>&1
echo $? >/results/tools.status
"""

# The time from nothing built to the last test is ten minutes on a busy machine. A run that takes longer has hung.
SECONDS = 1800

# The line that cargo prints before the tests of each program, the result of a test, and the output of a test that passed.
PROGRAM = re.compile(r"^running \d+ tests?$", re.MULTILINE)
TEST = re.compile(r"^test (?P<name>.+?) \.\.\. (?P<outcome>ok|FAILED|ignored)\b", re.MULTILINE)
SAID = re.compile(r"^---- (?P<name>.+?) stdout ----\n(?P<text>(?:(?!---- ).+\n)*)", re.MULTILINE)
SKIPPED = re.compile(r"^skipped: (.*)", re.MULTILINE)


def cargo(log: str, *arguments: str, **more: str) -> Tuple[int, str]:
    """Runs cargo on the workspace; returns its status and its output, which is also written to a file."""
    # The arguments after two dashes are for the test programs.
    split = (*arguments, "--").index("--")
    words = ["cargo", *arguments[:split], "--workspace", "--locked", *arguments[split:]]
    status, output = run_tool(words, SECONDS, crates.WORKSPACE, crates.environment(**more))
    if status is None:
        status, output = 1, f"{output}\ncargo {arguments[0]} was killed: it took more than {SECONDS} seconds.\n"
    LOGS.mkdir(parents=True, exist_ok=True)
    (LOGS / log).write_text(output, encoding="utf-8")
    return status, output


def end_of(output: str, log: Path) -> str:
    lines: List[str] = output.strip().splitlines()[-25:]
    return "\n".join([*lines, f"the whole log is in {shown(log)}"])


def libtest(output: str, log: Path, prefix: str = "") -> Iterator[Result]:
    """
    Yields the results that test programs in Rust print with --show-output. A test that prints why it skips has not
    passed, although Rust's own harness reports it as passed.
    """
    for part in PROGRAM.split(output)[1:]:
        reasons: Dict[str, str] = {}
        for said in SAID.finditer(part):
            reason = SKIPPED.search(said["text"])
            if reason:
                reasons[said["name"]] = reason[1]
        for match in TEST.finditer(part):
            name = prefix + match["name"]
            if match["outcome"] == "FAILED":
                yield failed(name, end_of(output, log))
            elif match["outcome"] == "ignored":
                yield skipped(name, "it is marked to be ignored")
            elif match["name"] in reasons:
                yield skipped(name, reasons[match["name"]])
            else:
                yield passed(name)


def host_tests(context: Context) -> Iterator[Result]:
    found, why_not = browser.find()
    context.progress("cargo test")
    more = {"KCOV_BROWSER": found} if found else {}
    log = LOGS / "cargo-test.log"
    status, output = cargo(log.name, "test", "--", "--show-output", **more)
    results = list(libtest(output, log))
    for result in results:
        yield skipped(result.name, why_not) if "Chromium" in result.detail and why_not else result
    if status or not results:
        yield failed("cargo test", end_of(output, log))


def guest_tests(context: Context, impl: str, obj: Path) -> Iterator[Result]:
    files = {
        "/bin/kcov-trace": crates.kcov_trace(context.arch),
        "/tools/device": crates.device_tests(context.arch),
        "/tools/tasks": programs.build(FIXTURE, obj, context.arch),
        "/tools/work": programs.of_suite("samples/work", obj, context.arch),
        "/tools/test.sh": GUEST_TEST,
    }
    offered = kconfig.of_objects(obj).get("CONFIG_KCOV_UNIQUE") == "y"
    command = COMMAND.format(unique="yes" if offered else "no")
    outcome = context.boot(guest.Guest(obj=obj, name=f"tools-{impl}", arch=context.arch, command=command, files=files))
    yield boot_result(f"{impl}: the kernel stays sound", outcome)
    if outcome.death:
        return
    device, script = outcome.results / "device.log", outcome.results / "tools.tap"
    output = device.read_text(encoding="utf-8", errors="replace")
    results = list(libtest(output, device, f"{impl}: kcov: "))
    yield from results
    status = (outcome.results / "device.status").read_text(encoding="ascii").strip()
    if status != "0" or not results:
        yield failed(f"{impl}: kcov: the tests as a whole", f"status {status}\n{end_of(output, device)}")

    document = tap.parse(script.read_text(encoding="utf-8", errors="replace").splitlines())
    problems = document.problems
    for test in document.tests:
        title = f"{impl}: kcov-trace: {test.name}"
        if test.outcome == tap.PASSED:
            yield passed(title)
        elif test.outcome == tap.SKIPPED:
            yield skipped(title, test.reason)
        else:
            yield failed(title, "\n".join([*test.diagnostics, f"the whole output is in {shown(script)}"]))
    status = (outcome.results / "tools.status").read_text(encoding="ascii").strip()
    if (status != "0") != any(test.outcome == tap.FAILED for test in document.tests):
        problems.append(f"its status {status} contradicts its results")
    if problems:
        yield failed(f"{impl}: kcov-trace: the tests as a whole", "\n".join(problems))


def run(context: Context) -> Iterator[Result]:
    on_host = list(host_tests(context))

    context.progress("clippy")
    status, output = cargo("cargo-clippy.log", "clippy", "--all-targets", RUSTFLAGS="-D warnings")
    yield failed("clippy", end_of(output, LOGS / "cargo-clippy.log")) if status else passed("clippy")

    context.progress("cargo doc")
    status, output = cargo("cargo-doc.log", "doc", "--no-deps", RUSTDOCFLAGS="-D warnings")
    yield failed("documentation", end_of(output, LOGS / "cargo-doc.log")) if status else passed("documentation")

    in_guest: List[Result] = []
    if ARCHITECTURES[context.arch].runs_host_programs:
        in_guest = list(each_kernel(context, lambda impl, obj: guest_tests(context, impl, obj)))
    # Tests that the host skipped, because it has no KCOV, have run in the guest.
    elsewhere = {result.name.rpartition(": kcov: ")[2] for result in in_guest}
    for result in on_host:
        if result.outcome != "skipped" or result.name not in elsewhere:
            yield result
    yield from in_guest
