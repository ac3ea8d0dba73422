# SPDX-License-Identifier: GPL-2.0
"""
Random calls of several tasks, each compared with a model of the interface (tools/kcov/random).

RANDOM_CALLS= sets the number of calls, RANDOM_SEED= the seed, which is printed with a difference.
"""

import os
from pathlib import Path
from typing import Iterator

from harness import crates, guest, kconfig, programs
from harness.arch import ARCHITECTURES
from harness.checklib import Context, Result, boot_result, each_kernel, failed, passed, skipped
from harness.hostlib import shown

ORDER = 59

# This takes a minute in an emulator.
CALLS, SEED = 30_000, 1
# Far more than a call takes in an emulator on a busy machine, plus the time for shorter sequences.
SECONDS, SECONDS_PER_CALL = 1200, 0.02

# Options of the kernel, and the arguments that tell the program that the kernel lacks them.
OPTIONS = {"CONFIG_KCOV_UNIQUE": "--no-unique", "CONFIG_KCOV_ENABLE_COMPARISONS": "--no-comparisons"}
COMMAND = programs.LOAD_MODULES + "exec /kcov-random --implementation {impl} --calls {calls} --seed {seed} {options} 2>&1"


def number(name: str, otherwise: int) -> int:
    return int(os.environ.get(name) or otherwise)


def random_calls(context: Context, impl: str, obj: Path) -> Iterator[Result]:
    calls, seed = number("RANDOM_CALLS", CALLS), number("RANDOM_SEED", SEED)
    config = kconfig.of_objects(obj)
    options = " ".join(flag for option, flag in OPTIONS.items() if config.get(option) != "y")
    boot = guest.Guest(
        obj=obj,
        name=f"random-{impl}",
        arch=context.arch,
        command=COMMAND.format(impl=impl, calls=calls, seed=seed, options=options),
        files={"/kcov-random": crates.random(context.arch), **programs.sample_modules(obj)},
        timeout=SECONDS + SECONDS_PER_CALL * calls,
    )

    def on_output(line: str) -> None:
        if line.startswith("# "):
            context.progress(f"{impl}: {line[2:]}")

    outcome = guest.boot(boot, on_output)
    yield boot_result(f"{impl}: the kernel stays sound", outcome)
    title = f"{impl}: every call does what the model says"
    if outcome.death:
        yield failed(title, f"the guest {outcome.death}")
    elif outcome.status:
        lines = [line for line in outcome.output.splitlines() if not line.startswith("# ")]
        yield failed(title, "\n".join([*lines[-60:], f"the seed is {seed}; the log is {shown(outcome.log)}"]))
    else:
        yield passed(title, f"seed {seed}: {outcome.output.splitlines()[-1]}")


def run(context: Context) -> Iterator[Result]:
    if not ARCHITECTURES[context.arch].runs_host_programs:
        yield skipped("random calls", "the program is built for guests that run programs of the host")
        return
    yield from each_kernel(context, lambda impl, obj: random_calls(context, impl, obj))
