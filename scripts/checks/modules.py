# SPDX-License-Identifier: GPL-2.0
"""
Code of loadable modules, in C and in Rust, is recorded, and its names and lines are found.

The sample modules are loaded in a guest, where kcov-trace records a program that has them compare numbers. The host
symbolises the recordings.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

from harness import crates, guest, kconfig, programs
from harness.checklib import Context, Result, each_kernel, failed, output_of, passed, skipped, verdict
from harness.hostlib import Failure

ORDER = 61


@dataclass(frozen=True)
class Sample:
    module: str
    device: str
    # The file with the function that compares.
    source: str


SAMPLES = (
    Sample("kcov_sample", "/dev/kcov-sample", "samples/kcov/kcov_sample.c"),
    Sample("rust_kcov_sample", "/dev/rust-kcov-sample", "samples/kcov/rust_kcov_sample.rs"),
)
FUNCTION = "compare_code"
COMMAND = """
insmod /modules/{module}.ko || exit
kcov-trace -o /results/{module}.kcov -- compare {device} || exit
rmmod {module} || exit
"""


def symbolised(name: str, sample: Sample, trace: Path, obj: Path, recording: Path) -> Result:
    command = [trace, "report", "--vmlinux", obj / "vmlinux", "--modules", obj, "--format", "trace", recording]
    status, said = output_of(command)
    if status:
        return failed(name, said[-2000:])
    place = re.compile(rf"{FUNCTION}\b.*{re.escape(sample.source)}:\d+")
    found = sum(bool(place.search(line)) for line in said.splitlines())
    return passed(name) if found else failed(name, f"no line has {FUNCTION} with a line of {sample.source}:\n{said[:2000]}")


def run(context: Context) -> Iterator[Result]:
    def one(impl: str, obj: Path) -> Iterator[Result]:
        config = kconfig.of_objects(obj)
        samples = [sample for sample in SAMPLES if config.get(programs.SAMPLE_MODULES[sample.module]) == "m"]
        titles = {sample.module: f"{impl}: {sample.module}: its code has names and lines" for sample in SAMPLES}
        for sample in SAMPLES:
            if sample not in samples:
                yield skipped(titles[sample.module], f"it is not loadable ({programs.SAMPLE_MODULES[sample.module]})")
        if not samples:
            return
        files = programs.sample_modules(obj)
        missing = [sample.module for sample in samples if f"/modules/{sample.module}.ko" not in files]
        if missing:
            raise Failure(f"the kernel was built without {', '.join(missing)}, which it has as modules")
        trace = crates.kcov_trace(context.arch)
        outcome = context.boot(
            guest.Guest(
                obj=obj,
                name=f"modules-{impl}",
                arch=context.arch,
                command="".join(COMMAND.format(module=sample.module, device=sample.device) for sample in samples),
                files={
                    **files,
                    "/bin/kcov-trace": trace,
                    "/bin/compare": programs.of_suite("samples/compare", obj, context.arch),
                },
            )
        )
        problems = outcome.failures()
        yield verdict(f"{impl}: the modules are loaded and recorded", problems)
        if problems:
            return
        for sample in samples:
            recording = outcome.results / f"{sample.module}.kcov"
            yield symbolised(titles[sample.module], sample, trace, obj, recording)

    yield from each_kernel(context, one)
