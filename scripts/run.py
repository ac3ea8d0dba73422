#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""
`make run`: shows the kernel code that one read(2) runs. Builds a small kernel, boots it, has the C program
samples/kcov/pc.c record the system call in the guest, and lets kcov-trace name every recorded PC.

  run.py [--impl rust|c] [--obj DIR] [--format FORMAT]

The guest only prints addresses and its build id: `kcov-trace import` makes a recording of both on the host. So a guest
of any architecture works, independent of the architecture for which kcov-trace was built.
"""

import argparse
import subprocess
from pathlib import Path
from typing import List, Optional

from harness import crates, guest, programs
from harness.hostlib import TOP, die, main, say, shown, step

PROGRAM = TOP / "samples/kcov/pc.c"
CALL = "read(-1, NULL, 0)"
COMMAND = "cat /sys/kernel/notes >/results/notes; exec pc >/results/pcs"


def recording_of(outcome: guest.Outcome, trace: Path) -> Path:
    """Makes a recording of the guest's output."""
    problems = outcome.failures("the program")
    if problems:
        die("\n".join(problems))
    recording = outcome.guest.run / "read.kcov"
    command = [trace, "import", "--name", CALL, "-o", recording, outcome.results / "pcs"]
    notes = outcome.results / "notes"
    if notes.exists() and notes.stat().st_size:
        command += ["--notes", notes]
    if subprocess.call([str(word) for word in command]) != 0:
        die(f"the program's output ({shown(outcome.results / 'pcs')}) is not a recording; see the message above.")
    return recording


def command_interface(arguments: List[str]) -> Optional[int]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    guest.kernel_options(parser)
    parser.add_argument("--format", default="listing", help="another of kcov-trace's formats")
    options = parser.parse_args(arguments)
    obj = options.obj.absolute() if options.obj else guest.object_directory(options.impl, options.arch, small=True)
    vmlinux = obj / "vmlinux"
    if not vmlinux.exists():
        die(f"there is no {shown(vmlinux)} to name PCs with; build it first (`scripts/kernel.py build --small`).")

    trace = crates.kcov_trace()
    program = programs.build(PROGRAM, obj, options.arch)
    step(f"Booting {shown(obj)} and recording {CALL} with {shown(PROGRAM)}")
    outcome = guest.boot(
        guest.Guest(obj=obj, name="run", arch=options.arch, files={"/bin/pc": program}, command=COMMAND)
    )
    recording = recording_of(outcome, trace)
    step(f"Naming the PCs of {shown(recording)} with {shown(vmlinux)}")
    say()
    command = [str(trace), "report", "--vmlinux", str(vmlinux), "--format", options.format, str(recording)]
    status = subprocess.call(command)
    say()
    step(f"The guest booted in {outcome.boot_time:.1f} s (console: {shown(outcome.log)})")
    return status


if __name__ == "__main__":
    main(command_interface)
