# SPDX-License-Identifier: GPL-2.0
"""
Boots a kernel with a small initramfs, and runs a command there and returns its results, or gives a shell in it.

Guests run with KVM if a trial boot shows that KVM works here; otherwise QEMU emulates them. The result of the trial is
kept. KVM=0 in the environment asks for emulation, KVM=1 for a new trial.
"""

import argparse
import fcntl
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Callable, Dict, Iterator, List, Optional, Set, Tuple

from . import arch, console
from .hostlib import CACHE, chosen, command_output, die, shown, step, warn, write_if_changed
from .machine import PORTS, Guest, check_emulator, command_line, write_initramfs


@dataclass(frozen=True)
class Outcome:
    """The result of a boot. Nothing that the guest sent is trusted before its verdict has arrived."""

    guest: Guest
    # The exit status of the command; None without a verdict.
    status: Optional[int]
    # The reason why the verdict or a part of the results is missing; None if all is well.
    death: Optional[str]
    output: str
    # The directory with the guest's /results.
    results: Path
    log: Path
    reports: Tuple[console.Report, ...]
    # The seconds from the kernel's start to its first program, and in all.
    boot_time: float
    total_time: float

    @property
    def unexpected(self) -> List[console.Report]:
        return console.unexpected(self.reports, self.guest.expected)

    def problems(self) -> List[str]:
        """Returns all problems apart from the exit status of the command."""
        found = []
        if self.death:
            last = "".join(f"\n    {line}" for line in self.console_lines()[-15:])
            found.append(f"the guest {self.death}; the end of its console ({shown(self.log)}):{last}")
        for report in self.unexpected:
            during = f"during {report.program}, " if report.program else ""
            found.append(f"{during}the kernel reported: {report.title}  ({shown(self.log)}:{report.line})")
        return found

    def failures(self, what: str = "the command") -> List[str]:
        """Returns all problems, for callers for which an exit status other than 0 is a problem too."""
        found = self.problems()
        if self.status:
            found.append(f"{what} failed with status {self.status}: {self.output.strip()[-500:]}")
        return found

    def console_lines(self) -> List[str]:
        return console.lines_of(self.log.read_bytes())


@contextmanager
def run_directory(guest: Guest) -> Iterator[None]:
    """Provides an empty directory for one boot. No other boot can use it at the same time."""
    guest.run.parent.mkdir(parents=True, exist_ok=True)
    lock_path = guest.run.parent / f".{guest.run.name}.lock"
    with open(lock_path, "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            die(f"a guest is running in {shown(guest.run)} already; wait until it has ended.")
        shutil.rmtree(guest.run, ignore_errors=True)
        (guest.run / "ports").mkdir(parents=True)
        for port in PORTS:
            (guest.run / "ports" / port).touch()
        (guest.run / "console.log").touch()
        yield


# The file with the results of trials of KVM, and the seconds that a trial may take. A kernel that boots takes two.
TRIALS = CACHE / "kvm.json"
TRIAL_SECONDS = 5


def with_accelerator(guest: Guest) -> Guest:
    """Returns GUEST with KVM if it may use KVM and a trial boot has shown that KVM works here."""
    asked = os.environ.get("KVM", "")
    if guest.kvm is not None or guest.emulation or asked in ("0", "n") or not may_use_kvm(guest):
        if asked == "1" and guest.kvm is None and not guest.emulation:
            warn("KVM cannot run this guest here; going on with QEMU's emulation.")
        return guest
    return replace(guest, kvm=kvm_works(guest, anew=asked == "1"))


def may_use_kvm(guest: Guest) -> bool:
    """Returns True if the host has KVM for guests of this architecture. Only emulation can count instructions."""
    native = guest.architecture.qemu is not None and guest.architecture.native == platform.machine()
    return native and "-icount" not in guest.qemu_args and os.access("/dev/kvm", os.R_OK | os.W_OK)


# Trials that this process has repeated, because each is repeated only once.
_tried: Set[str] = set()


def kvm_works(guest: Guest, anew: bool) -> bool:
    """
    Returns True if a kernel boots with KVM on this machine and its kernel. There is one trial for each such pair, whose
    result is kept.
    """
    host = " ".join((platform.node(), platform.release(), guest.architecture.name))
    try:
        known = dict(json.loads(TRIALS.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        known = {}
    if host not in known or (anew and host not in _tried):
        trial = replace(guest, name=f"{guest.name}-kvm", command="true", files={}, timeout=TRIAL_SECONDS, kvm=True)
        known[host] = _boot(trial, None).status == 0
        _tried.add(host)
        write_if_changed(TRIALS, (json.dumps(known, indent=1) + "\n").encode())
        if not known[host]:
            warn("KVM does not run a kernel here; going on with QEMU's emulation. KVM=1 tries again.")
    return bool(known[host])


def boot(guest: Guest, on_output: Optional[Callable[[str], None]] = None) -> Outcome:
    """
    Boots, runs the command, waits for the verdict and the end. Calls on_output with each complete line that the command
    prints, while it runs.
    """
    check_emulator(guest.architecture)
    return _boot(with_accelerator(guest), on_output)


def _boot(guest: Guest, on_output: Optional[Callable[[str], None]]) -> Outcome:
    with run_directory(guest):
        initrd = guest.run / "initramfs.cpio"
        write_initramfs(guest, initrd)
        command = command_line(guest, initrd)
        (guest.run / "command").write_text(" ".join(map(shlex.quote, command)) + "\n", encoding="utf-8")
        started = time.monotonic()
        with open(guest.run / "emulator.log", "wb") as errors:
            # The console of a user-mode kernel is its standard output, which must be a pipe to be waited for. QEMU writes
            # the log of the console itself.
            output, copier = (errors, None) if guest.architecture.qemu else copying(guest.run / "console.log")
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, cwd=guest.run, env=_environment()
            )
            try:
                timed_out = not _wait(process, started + guest.timeout, guest.run / "ports/output", on_output)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
                if copier:
                    output.close()
                    copier.wait()
        initrd.unlink()
        return _outcome(guest, process.returncode, timed_out, time.monotonic() - started)


def copying(target: Path) -> Tuple[IO[bytes], "subprocess.Popen[bytes]"]:
    """Returns a pipe whose content goes to a file, and the process that copies it."""
    with open(target, "wb") as file:
        copier = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file)
    assert copier.stdin is not None
    return copier.stdin, copier


def _environment() -> Dict[str, str]:
    return {**os.environ, "TMPDIR": os.environ.get("TMPDIR", tempfile.gettempdir())}


def _wait(
    process: "subprocess.Popen[bytes]", until: float, output: Path, on_output: Optional[Callable[[str], None]]
) -> bool:
    """Waits for the end of the guest and passes its output on; returns False if it times out."""
    pending = b""
    with open(output, "rb") as stream:
        while True:
            ended = process.poll() is not None
            if on_output:
                *lines, pending = (pending + stream.read()).split(b"\n")
                for line in lines:
                    on_output(line.decode(errors="replace").rstrip("\r"))
            if ended or time.monotonic() > until:
                break
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
    if on_output and pending:
        on_output(pending.decode(errors="replace"))
    return ended


VERDICT = re.compile(r"status (\d+) archived (\d+) started ([\d.]+) ended [\d.]+\n")


def _outcome(guest: Guest, emulator_status: int, timed_out: bool, total: float) -> Outcome:
    log = guest.run / "console.log"
    lines = console.lines_of(log.read_bytes())
    verdict = VERDICT.fullmatch((guest.run / "ports/verdict").read_text(encoding="ascii", errors="replace"))
    status, boot_time, death = None, 0.0, None
    if verdict:
        status, boot_time = int(verdict[1]), float(verdict[3])
        if int(verdict[2]):
            death = f"could not send its files (tar: status {verdict[2]})"
        elif timed_out:
            death = f"gave its verdict, but was still running after {guest.timeout:.0f} seconds"
    elif timed_out:
        death = f"gave no verdict within {guest.timeout:.0f} seconds and was ended"
    elif any("Kernel panic - not syncing" in line for line in lines):
        death = "panicked"
    elif emulator_status:
        message = (guest.run / "emulator.log").read_text(errors="replace").strip()
        death = f"ended with the emulator's status {emulator_status}" + (f" ({message})" if message else "")
    elif any(line.startswith("reboot:") for line in lines):
        death = "restarted before it gave a verdict"
    else:
        death = "was reset in the middle of its work, without a message of the kernel (a triple fault does that)"
    results = guest.run / "results"
    results.mkdir()
    if verdict and not death:
        try:
            unpack(guest.run / "ports/files", results)
        except (tarfile.TarError, OSError) as error:
            death = f"sent a damaged archive of its files ({error})"
    return Outcome(
        guest=guest,
        status=status,
        death=death,
        output=(guest.run / "ports/output").read_text(encoding="utf-8", errors="replace"),
        results=results,
        log=log,
        reports=tuple(console.reports(lines)),
        boot_time=boot_time,
        total_time=total,
    )


def unpack(archive: Path, target: Path) -> None:
    """Unpacks only ordinary files, and only below TARGET, because paths in the guest's archive are not trusted."""
    with tarfile.open(archive) as tar:
        for member in tar:
            name = os.path.normpath(member.name)
            if not member.isreg() or name.startswith(("/", "..")):
                continue
            source = tar.extractfile(member)
            assert source is not None
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "wb") as output:
                shutil.copyfileobj(source, output)


def shell(guest: Guest) -> int:
    """Runs an interactive shell; returns the status of the emulator."""
    check_emulator(guest.architecture)
    if not sys.stdin.isatty():
        die("a shell needs a terminal; `scripts/shell.py -- COMMAND` runs a command without one.")
    guest = with_accelerator(guest)
    with run_directory(guest):
        initrd = guest.run / "initramfs.cpio"
        write_initramfs(guest, initrd, interactive=True)
        step(f"Booting {shown(guest.obj)}; leave with `poweroff -f`, or with Ctrl-A X (log: {shown(guest.run)})")
        settings = command_output("stty", "-g") if sys.stdin.isatty() else None
        try:
            return subprocess.call(command_line(guest, initrd, interactive=True), cwd=guest.run)
        finally:
            if settings:
                subprocess.call(["stty", settings])


def kernel_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that select the kernel to boot."""
    impls = ("rust", "c")
    parser.add_argument("--impl", choices=impls, default=chosen("IMPL", impls, "rust"), help="the implementation in the kernel")
    parser.add_argument("--arch", choices=sorted(arch.ARCHITECTURES), default=arch.chosen())
    parser.add_argument("--obj", type=Path, help="object directory of a kernel that is built already")


def object_directory(impl: str, arch: str, small: bool = False) -> Path:
    """Builds the kernel of an implementation if it is not up to date; returns the directory of its objects."""
    # With --obj, a guest boots without the modules that build kernels.
    from . import kernel

    return kernel.build(kernel.Kernel(impl=impl, arch=arch, small=small))
