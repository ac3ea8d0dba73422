#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""
`make run`: shows which kernel code one read(2) runs. Builds the kernel, boots it, has the C program
samples/kcov/pc.c record the system call in the guest, and names every recorded PC.

  run.py [--impl rust|c] [--obj DIR] [--functions]
"""

import argparse
import os
from pathlib import Path
from typing import List, Optional

import guest
import programs
import symbolize
from hostlib import TOP, die, main, say, shown, step

PROGRAM = TOP / "samples/kcov/pc.c"


def command_interface(arguments: List[str]) -> Optional[int]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--impl", choices=("rust", "c"), default=os.environ.get("IMPL") or "rust")
    parser.add_argument("--arch", choices=sorted(guest.MACHINES), default=os.environ.get("ARCH") or "x86_64")
    parser.add_argument("--obj", type=Path, help="object directory of a kernel that is built already")
    parser.add_argument("--functions", action="store_true", help="without the lines about inlining")
    options = parser.parse_args(arguments)
    obj = options.obj.absolute() if options.obj else guest.object_directory(options.impl, options.arch)

    program = programs.build(PROGRAM, obj, options.arch)
    step(f"Booting {shown(obj)} and recording read(-1, NULL, 0) with {shown(PROGRAM)}")
    outcome = guest.boot(
        guest.Guest(obj=obj, name="run", arch=options.arch, files={"/bin/pc": program}, command="exec pc")
    )
    problems = outcome.problems()
    if outcome.status:
        problems.append(f"the program failed with status {outcome.status}: {outcome.output.strip()}")
    if problems:
        die("\n".join(problems))
    pcs = symbolize.parse_pcs(outcome.output.splitlines())
    step(f"Naming {len(pcs)} PCs with {shown(obj / 'vmlinux')}")
    say()
    for line in symbolize.trace(symbolize.Symbolizer(obj), pcs, inlined=not options.functions):
        say(line)
    say()
    step(f"{len(pcs)} PCs; the guest booted in {outcome.boot_time:.1f} s (console: {shown(outcome.log)})")
    return 0


if __name__ == "__main__":
    main(command_interface)
