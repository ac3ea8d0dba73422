#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""
`make gdb`: debugs a small kernel with gdb, while it runs the C program samples/kcov/pc.c, which records one read(2).

  gdb.py [OPTION...] [-- GDB-ARGUMENT...]

The guest waits for gdb before its first instruction: set breakpoints, then `continue` (user-mode Linux: `run`). Its
addresses are those of vmlinux, and the hooks are on all the time (kcov_hooks=always), so `break __sanitizer_cov_trace_pc`
stops at every basic block. The guest's console goes to a file, and the guest ends with gdb. For example:

  scripts/gdb.py --arch um -- -ex 'break sys_ioctl' -ex run -ex backtrace
"""

import argparse
import shlex
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import List, Optional

from harness import guest, machine, programs
from harness.arch import ARCHITECTURES
from harness.hostlib import TOP, die, main, shown, step

PROGRAM = TOP / "samples/kcov/pc.c"
# A person who thinks for an hour must not be interrupted.
SECONDS = 24 * 3600
# Signals of the host that user-mode Linux uses for its interrupts and for the faults of its programs.
UM_SIGNALS = "handle SIGSEGV SIGUSR1 SIGUSR2 SIGALRM SIGIO SIGWINCH nostop noprint pass"


def debugger(arch: str) -> str:
    """Returns the gdb for guests of an architecture."""
    native = ARCHITECTURES[arch].runs_host_programs
    names = ("gdb", "gdb-multiarch") if native else ("gdb-multiarch",)
    found = [name for name in names if shutil.which(name)]
    if not found:
        die(f"{names[0]} was not found; install it with `scripts/setup.sh gdb`.")
    return found[0]


def waiting_guest(boot: guest.Guest, initrd: Path, socket: Path) -> "subprocess.Popen[bytes]":
    """Starts QEMU with a guest that waits for gdb at a socket."""
    command = [*machine.command_line(boot, initrd), "-S", "-gdb", f"unix:{socket},server=on,wait=off"]
    # Ctrl-C is for gdb, not for the guest.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=boot.run, start_new_session=True)
    for _ in range(100):
        if socket.exists():
            return process
        if process.poll() is not None:
            break
        time.sleep(0.1)
    process.kill()
    die(f"QEMU did not start; see its message above (log: {shown(boot.run)}).")
    raise AssertionError


def debug(boot: guest.Guest, gdb: List[str]) -> int:
    """Runs a guest and gdb; returns the status of gdb."""
    machine.check_emulator(boot.architecture)
    with guest.run_directory(boot):
        initrd, log = boot.run / "initramfs.cpio", boot.run / "console.log"
        machine.write_initramfs(boot, initrd)
        # The paths in the debug information are relative to the directory of the objects.
        sources = ["-ex", f"directory {boot.obj}"]
        step(f"Debugging {shown(boot.obj / 'vmlinux')} (console: {shown(log)})")
        if boot.architecture.qemu is None:
            program, *arguments = machine.command_line(boot, initrd)
            line = f"{shlex.join(arguments)} >{shlex.quote(str(log))} 2>&1"
            prepared = [*sources, "-ex", UM_SIGNALS, "-ex", f"set args {line}", "-ex", f"set cwd {boot.run}"]
            return subprocess.call([*gdb[:1], program, *prepared, *gdb[1:]])
        # The guest's directory does not suit: the path of a socket has at most 107 bytes.
        with tempfile.TemporaryDirectory() as place:
            socket = Path(place) / "gdb"
            process = waiting_guest(boot, initrd, socket)
            try:
                prepared = [*sources, "-ex", f"target remote {socket}"]
                return subprocess.call([*gdb[:1], str(boot.obj / "vmlinux"), *prepared, *gdb[1:]])
            finally:
                process.kill()
                process.wait()


def command_interface(arguments: List[str]) -> Optional[int]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    guest.kernel_options(parser)
    parser.add_argument("gdb", nargs="*", metavar="GDB-ARGUMENT", help="arguments of gdb, after `--`")
    options = parser.parse_args(arguments)
    gdb = [debugger(options.arch), *options.gdb]
    obj = options.obj.absolute() if options.obj else guest.object_directory(options.impl, options.arch, small=True)
    boot = guest.Guest(
        obj=obj,
        name="gdb",
        command="pc",
        files={"/bin/pc": programs.build(PROGRAM, obj, options.arch)},
        arch=options.arch,
        timeout=SECONDS,
        smp=1,
        kvm=False,
        # The parameter is given here, so the guest must not add its own.
        default_hooks=True,
        kernel_args=("nokaslr", "kcov_hooks=always"),
    )
    return debug(boot, gdb)


if __name__ == "__main__":
    main(command_interface)
