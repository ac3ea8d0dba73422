# SPDX-License-Identifier: GPL-2.0
"""
The kernel part's own sources on the host: properties of its data, and models of its lock-free code.
"""

from dataclasses import replace
from typing import Iterator

from checks.tools import end_of, libtest
from harness import crates
from harness.checklib import LOGS, Context, Result, failed, run_tool
from harness.hostlib import TOP, shown

ORDER = 14

DIRECTORY = TOP / "tools/testing/kcov"
STEPS = ("properties", "models", "runs")
# The check takes two minutes on an idle machine, with the compilation of all crates. Variables can ask for a longer
# search.
SECONDS = 3600


def run(context: Context) -> Iterator[Result]:
    LOGS.mkdir(parents=True, exist_ok=True)
    for step in STEPS:
        context.progress(step)
        log = LOGS / f"proof-{step}.log"
        status, output = run_tool(["make", "-C", DIRECTORY, step], SECONDS, env=crates.environment())
        log.write_text(output, encoding="utf-8")
        results = [replace(result, name=result.name.replace("tests::", "", 1)) for result in libtest(output, log)]
        yield from results
        if status is None:
            yield failed(step, f"it was killed: it took more than {SECONDS} seconds; the log is {shown(log)}.")
        elif status or not results:
            yield failed(step, end_of(output, log))
