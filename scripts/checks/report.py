# SPDX-License-Identifier: GPL-2.0
"""
The coverage report of `make report`, made from a guest's recording and opened in Chromium.
"""

import re
from pathlib import Path
from typing import Dict, Iterator, List

import report
from harness import browser, crates
from harness.checklib import Context, Result, boot_result, each_kernel, passed, skipped, verdict

ORDER = 58

# A wide window, which shows the tree and the source next to each other, and a narrow one, in which one hides the other.
WIDTHS = (1400, 500)
# A file of which every workload covers a part, and never all.
SOURCE = "fs/read_write.c"
# In these folders every workload covers something.
FOLDERS = ("fs", "kernel", "mm", "net")
SUMMARY = re.compile(
    r'<summary class="row"><span class="name">([^<]+)/</span>.*?<span class="percent">([^<]+)</span>'
    r'<span class="blocks">(\d+)/(\d+)</span></summary>',
    re.DOTALL,
)
LINE = re.compile(r'<div class="line code ?([^"]*)"[^>]*data-line="(\d+)"[^>]*>.*?<code>([^<]*)</code>', re.DOTALL)
PERCENT = re.compile(r"(?:0|100|\d{1,2}\.\d) %")
# The beginning of read(2), which every workload covers.
ENTRY = "SYSCALL_DEFINE3(read,"


def tree_problems(page: str) -> List[str]:
    """Returns the problems in the page's folders."""
    found: Dict[str, int] = {}
    problems = []
    for name, percent, covered, instrumented in SUMMARY.findall(page):
        found.setdefault(name, int(covered))
        if not PERCENT.fullmatch(percent):
            problems.append(f"{name}/ has '{percent}' instead of a percentage")
        if int(covered) > int(instrumented):
            problems.append(f"{name}/ has {covered} of {instrumented} blocks covered")
    problems += [f"the tree has no covered {name}/" for name in FOLDERS if not found.get(name)]
    return problems


def source_problems(page: str) -> List[str]:
    """Returns the problems in the source that the page shows."""
    lines = [(state, int(number), text) for state, number, text in LINE.findall(page)]
    problems = []
    if [number for _, number, _ in lines] != list(range(1, len(lines) + 1)):
        problems.append("the lines of the source are not numbered one after the other")
    states = [state.split()[0] if state else "" for state, _, _ in lines]
    problems += [f"no line of {SOURCE} is {state}" for state in ("covered", "uncovered", "") if state not in states]
    entry = next((index for index, (_, _, text) in enumerate(lines) if text.startswith(ENTRY)), None)
    if entry is None:
        problems.append(f"{SOURCE} has no line that begins with {ENTRY}")
    elif not {"covered", "partly"} & set(states[entry : entry + 4]):
        problems.append(f"the beginning of read(2) in line {entry + 1} is not shown as covered")
    return problems


def pictures(chromium: str, address: str, impl: str) -> Iterator[Result]:
    for width in WIDTHS:
        for name, where in (("tree", address), ("source", f"{address}#{SOURCE}")):
            picture = report.OUT / f"{impl}-{name}-{width}.png"
            size = browser.screenshot(chromium, width, where, picture)
            problems = [] if size == (width, 900) else [f"it has {size[0]}x{size[1]} pixels"]
            # A blank page of this size compresses to much less.
            if picture.stat().st_size < 20000:
                problems.append(f"it is nearly empty: {picture.stat().st_size} bytes")
            yield verdict(f"{impl}: a picture of the {name}, {width} pixels wide", problems)


def pages(chromium: str, page: Path, impl: str) -> Iterator[Result]:
    """Yields the results for the page as the browser shows it, in both windows."""
    address = page.as_uri()
    for width in WIDTHS:
        closed = browser.dom(chromium, width, address)
        problems = tree_problems(closed)
        if LINE.search(closed):
            problems.append("a source is shown before one was chosen")
        yield verdict(f"{impl}: the tree, {width} pixels wide", problems)
        opened = browser.dom(chromium, width, f"{address}#{SOURCE}")
        yield verdict(f"{impl}: the source, {width} pixels wide", source_problems(opened))
    yield from pictures(chromium, address, impl)


def run(context: Context) -> Iterator[Result]:
    if context.arch != "x86_64":
        yield skipped("the report", f"it is made for x86_64, not for {context.arch}")
        return
    chromium, why_not = browser.find()

    def one(impl: str, obj: Path) -> Iterator[Result]:
        trace = crates.kcov_trace(context.arch)
        outcome = context.boot(report.demonstration(obj, trace, context.arch, f"report-{impl}"))
        yield boot_result(f"{impl}: the kernel stays sound", outcome)
        recording = report.recording_of(outcome)
        page = report.OUT / f"{impl}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        context.progress("symbolising")
        numbers = report.render(trace, obj / "vmlinux", recording, page)
        yield passed(f"{impl}: a report is made", ", ".join(f"{name} {number}" for name, number in numbers.items()))
        # The same program makes the page for both kernels, so one page is enough.
        if impl != context.impls[0]:
            return
        if chromium:
            context.progress("looking at the page")
            yield from pages(chromium, page, impl)
        else:
            yield skipped(f"{impl}: the report in a browser", why_not)

    yield from each_kernel(context, one)
