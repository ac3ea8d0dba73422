#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""
`make report`: a coverage report of the kernel for a browser. Builds the kernel, boots it, runs a demonstration there
under kcov-trace (scripts/guest/workload.sh), and symbolises the recording on the host.

  report.py [--impl rust|c] [--obj DIR]

Writes build/report/index.html, which needs nothing but itself, and build/report/workload.kcov, from which
`kcov-trace report` makes other forms.
"""

import argparse
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import List, Optional

import crates
import guest
from hostlib import BUILD, SCRIPTS, die, main, shown, step

OUT = BUILD / "report"
WORKLOAD = SCRIPTS / "guest/workload.sh"
# A task that runs long between two stops needs room; what is not used costs no memory.
COMMAND = "exec kcov-trace --buffer 1048576 -o /results/workload.kcov -- sh /guest/workload.sh"
# The numbers at the head of the page: `Blocks</dt><dd>12 / 345 (3.5 %)`.
NUMBERS = re.compile(r"<dt>(Blocks|Functions|Files|Tasks)</dt><dd>([^<]+)</dd>")


def record(obj: Path, trace: Path, arch: str) -> Path:
    """Boots the guest; the recording that it left."""
    step(f"Booting {shown(obj)} and running {shown(WORKLOAD)} under kcov-trace")
    machine = guest.Guest(
        obj=obj, name="report", arch=arch, command=COMMAND, files={"/bin/kcov-trace": trace, "/guest/workload.sh": WORKLOAD}
    )
    outcome = guest.boot(machine)
    problems = outcome.problems()
    recording = outcome.results / "workload.kcov"
    if outcome.status:
        problems.append(f"the workload ended with status {outcome.status}: {outcome.output.strip()[-500:]}")
    elif not recording.exists() and not problems:
        problems.append(f"the guest left no recording; what it said is in {shown(outcome.guest.run / 'ports/output')}.")
    if problems:
        die("\n".join(problems))
    OUT.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(recording, OUT / recording.name))


def command_interface(arguments: List[str]) -> Optional[int]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--impl", choices=("rust", "c"), default=os.environ.get("IMPL") or "rust")
    parser.add_argument("--obj", type=Path, help="object directory of a kernel that is built already")
    options = parser.parse_args(arguments)
    arch = os.environ.get("ARCH") or "x86_64"
    if arch != "x86_64":
        die(f"the report is made of kernels for x86_64, not for {arch}.")
    obj = options.obj.absolute() if options.obj else guest.object_directory(options.impl, arch)
    vmlinux = obj / "vmlinux"
    if not vmlinux.exists():
        die(f"there is no {shown(vmlinux)} to symbolise with; build the kernel first (`make kernel`).")

    trace = crates.kcov_trace(arch)
    recording = record(obj, trace, arch)
    page = OUT / "index.html"
    step(f"Symbolising {shown(recording)} ({recording.stat().st_size >> 10} KiB) with {shown(vmlinux)}")
    command = [str(trace), "report", "--vmlinux", str(vmlinux), "-o", str(page), str(recording)]
    if subprocess.call(command) != 0:
        die(f"no report was made of {shown(recording)}; see the message above.")
    numbers = dict(NUMBERS.findall(page.read_text(encoding="utf-8")))
    step(", ".join(f"{name.lower()}: {number}" for name, number in numbers.items()))
    step(f"The report is {shown(page)} ({page.stat().st_size >> 10} KiB); open it in a browser.")
    return 0


if __name__ == "__main__":
    main(command_interface)
