#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""
`make report`: a coverage report of the kernel for a browser. Builds the kernel, boots it, runs a demonstration in it
under kcov-trace (scripts/guest/workload.sh), and symbolises the recording on the host.

  report.py [--impl rust|c] [--obj DIR]

Writes build/report/index.html, which needs no other file, and build/report/workload.kcov, from which `kcov-trace
report` makes other formats.
"""

import argparse
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Dict, List, Optional

from harness import crates, guest, initramfs
from harness.hostlib import BUILD, SCRIPTS, die, main, shown, step

OUT = BUILD / "report"
WORKLOAD = SCRIPTS / "guest/workload.sh"
# A task that runs long between two stops needs a large buffer. Unused parts of the buffer take no memory.
COMMAND = "exec kcov-trace --buffer 1048576 -o /results/workload.kcov -- sh /guest/workload.sh"
# Many times the usual duration.
RENDER_SECONDS = 600
# The numbers at the head of the page: `Blocks</dt><dd>12 / 345 (3.5 %)`.
NUMBERS = re.compile(r"<dt>(Blocks|Functions|Files|Tasks)</dt><dd>([^<]+)</dd>")


def demonstration(obj: Path, trace: Path, arch: str, name: str = "report") -> guest.Guest:
    """Returns the guest that records the workload."""
    files: Dict[str, initramfs.Source] = {"/bin/kcov-trace": trace, "/guest/workload.sh": WORKLOAD}
    return guest.Guest(obj=obj, name=name, arch=arch, command=COMMAND, files=files)


def recording_of(outcome: guest.Outcome) -> Path:
    """Returns the recording that the guest has sent."""
    problems = outcome.failures("the workload")
    recording = outcome.results / "workload.kcov"
    if not recording.exists() and not problems:
        problems.append(f"the guest sent no recording; its output is in {shown(outcome.guest.run / 'ports/output')}.")
    if problems:
        die("\n".join(problems))
    return recording


def render(trace: Path, vmlinux: Path, recording: Path, page: Path) -> Dict[str, str]:
    """Writes the page; returns the numbers at its head."""
    command = [str(trace), "report", "--vmlinux", str(vmlinux), "-o", str(page), str(recording)]
    try:
        status = subprocess.call(command, timeout=RENDER_SECONDS)
    except subprocess.TimeoutExpired:
        die(f"no report was made from {shown(recording)} within {RENDER_SECONDS} seconds.")
    if status != 0:
        die(f"no report was made from {shown(recording)}; see the message above.")
    return dict(NUMBERS.findall(page.read_text(encoding="utf-8")))


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
    step(f"Booting {shown(obj)} and running {shown(WORKLOAD)} under kcov-trace")
    outcome = guest.boot(demonstration(obj, trace, arch))
    OUT.mkdir(parents=True, exist_ok=True)
    recording = Path(shutil.copy(recording_of(outcome), OUT / "workload.kcov"))
    page = OUT / "index.html"
    step(f"Symbolising {shown(recording)} ({recording.stat().st_size >> 10} KiB) with {shown(vmlinux)}")
    numbers = render(trace, vmlinux, recording, page)
    step(", ".join(f"{name.lower()}: {number}" for name, number in numbers.items()))
    step(f"The report is {shown(page)} ({page.stat().st_size >> 10} KiB); open it in a browser.")
    return 0


if __name__ == "__main__":
    main(command_interface)
