#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""
`make shell`: boots a kernel with a small initramfs to a shell with debugfs mounted; leave it with `poweroff -f`.

  shell.py [OPTION...]                  an interactive shell
  shell.py [OPTION...] -- COMMAND...    run a command (a shell line) in the guest, and return its exit status

The guest runs with KVM if a trial boot has shown that KVM works here; KVM=0 in the environment asks for QEMU's
emulation.
"""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Dict, List

from harness import guest, initramfs
from harness.hostlib import die, main, say, shown, step


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    guest.kernel_options(result)
    result.add_argument("--name", help="name of the run's directory below build/guest")
    result.add_argument("--memory", default="2G")
    result.add_argument("--smp", type=int, default=2)
    result.add_argument("--append", default="", help="more kernel arguments")
    result.add_argument("--qemu", default="", help="more arguments for QEMU")
    result.add_argument(
        "--file", action="append", default=[], metavar="GUEST=HOST", help="a file for the guest (repeatable)"
    )
    result.add_argument("--timeout", type=float, default=300, help="maximum seconds for the boot and the command")
    result.add_argument("command", nargs="*", help="a line for the guest's shell")
    return result


def from_options(options: argparse.Namespace) -> guest.Guest:
    files: Dict[str, initramfs.Source] = {}
    for pair in options.file:
        name, separator, source = pair.partition("=")
        if not separator or not name.startswith("/"):
            die(f"--file takes GUEST=HOST with an absolute path in the guest, not '{pair}'.")
        if not Path(source).is_file():
            die(f"--file {pair}: {source} is not a file.")
        files[name] = Path(source)
    obj = options.obj.absolute() if options.obj else guest.object_directory(options.impl, options.arch)
    return guest.Guest(
        obj=obj,
        name=options.name or ("run" if options.command else "shell"),
        command=" ".join(options.command),
        arch=options.arch,
        timeout=options.timeout,
        memory=options.memory,
        smp=options.smp,
        files=files,
        kernel_args=tuple(options.append.split()),
        qemu_args=tuple(shlex.split(options.qemu)),
    )


def run(arguments: List[str]) -> int:
    options = parser().parse_args(arguments)
    if not options.command:
        return guest.shell(from_options(options))
    outcome = guest.boot(from_options(options), say)
    for problem in outcome.problems():
        print(f"error: {problem}", file=sys.stderr)
    if outcome.status is None or outcome.problems():
        return 1
    step(
        f"Status {outcome.status}; booted in {outcome.boot_time:.1f} s, all in {outcome.total_time:.1f} s "
        f"(log: {shown(outcome.guest.run)})"
    )
    return outcome.status


if __name__ == "__main__":
    main(run)
