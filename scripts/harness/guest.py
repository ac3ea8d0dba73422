# SPDX-License-Identifier: GPL-2.0
"""
Boots a kernel with a small initramfs, runs a command there and brings the result back; or gives a shell in it.

KVM=1 in the environment uses KVM if a trial boot shows that it works here; QEMU's emulation is used otherwise.
"""

import argparse
import fcntl
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Callable, Dict, Iterator, List, Optional, Tuple

from . import arch, console
from .hostlib import chosen, command_output, die, shown, step, warn
from .machine import PORTS, Guest, check_emulator, command_line, write_initramfs


@dataclass(frozen=True)
class Outcome:
    """What came back. Nothing that the guest promised is believed before the verdict has arrived."""

    guest: Guest
    # The exit status of the command; None without a verdict.
    status: Optional[int]
    # Why there is no verdict, or no complete result; None if all is well.
    death: Optional[str]
    output: str
    # The guest's /results.
    results: Path
    log: Path
    reports: Tuple[console.Report, ...]
    # From the kernel's start to its first program, and in all, in seconds.
    boot_time: float
    total_time: float

    @property
    def unexpected(self) -> List[console.Report]:
        return console.unexpected(self.reports, self.guest.expected)

    def problems(self) -> List[str]:
        """Everything that is wrong apart from what the command itself said."""
        found = []
        if self.death:
            last = "".join(f"\n    {line}" for line in self.console_lines()[-15:])
            found.append(f"the guest {self.death}; the end of its console ({shown(self.log)}):{last}")
        for report in self.unexpected:
            during = f"during {report.program}, " if report.program else ""
            found.append(f"{during}the kernel reported: {report.title}  ({shown(self.log)}:{report.line})")
        return found

    def failures(self, what: str = "the command") -> List[str]:
        """Everything that is wrong, for those to whom a status other than 0 is wrong too."""
        found = self.problems()
        if self.status:
            found.append(f"{what} failed with status {self.status}: {self.output.strip()[-500:]}")
        return found

    def console_lines(self) -> List[str]:
        return console.lines_of(self.log.read_bytes())


@contextmanager
def run_directory(guest: Guest) -> Iterator[None]:
    """An empty directory for one boot, which no other boot uses meanwhile."""
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


# Whether KVM boots a given kernel image here.
_kvm_works: Dict[Path, bool] = {}


def with_accelerator(guest: Guest) -> Guest:
    """GUEST with KVM if that was asked for and a trial boot shows that it works."""
    if os.environ.get("KVM", "0") in ("", "0", "n") or guest.architecture.qemu is None:
        return guest
    if guest.obj not in _kvm_works:
        works = False
        if guest.architecture.native == os.uname().machine and os.access("/dev/kvm", os.R_OK | os.W_OK):
            trial = Guest(obj=guest.obj, name=f"{guest.name}-kvm", arch=guest.arch, timeout=30, kvm=True)
            works = _boot(trial, None).status == 0
        if not works:
            warn("KVM does not run this kernel here; going on with QEMU's emulation.")
        _kvm_works[guest.obj] = works
    return replace(guest, kvm=_kvm_works[guest.obj])


def boot(guest: Guest, on_output: Optional[Callable[[str], None]] = None) -> Outcome:
    """
    Boots, runs the command, waits for the verdict and the end. on_output is called with each complete line that
    the command prints, while it runs.
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
            # A user-mode kernel's console is its standard output, which has to be a pipe to be waited for; QEMU writes
            # the console's log itself.
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
    """A pipe whose content goes to a file, and the process that sees to it."""
    with open(target, "wb") as file:
        copier = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file)
    assert copier.stdin is not None
    return copier.stdin, copier


def _environment() -> Dict[str, str]:
    return {**os.environ, "TMPDIR": os.environ.get("TMPDIR", tempfile.gettempdir())}


def _wait(
    process: "subprocess.Popen[bytes]", until: float, output: Path, on_output: Optional[Callable[[str], None]]
) -> bool:
    """Waits for the end of the guest, passing its output on; False when the time is over."""
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
            try:
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                pass
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
        death = "was reset in the middle of its work, without a word of the kernel (a triple fault is one way)"
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
    """Unpacks ordinary files below TARGET and nothing else: the guest is not to be trusted with the host's paths."""
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
    """An interactive shell; the status is the emulator's."""
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
    """Which kernel is booted."""
    impls = ("rust", "c")
    parser.add_argument("--impl", choices=impls, default=chosen("IMPL", impls, "rust"), help="which implementation's kernel")
    parser.add_argument("--arch", choices=sorted(arch.ARCHITECTURES), default=arch.chosen())
    parser.add_argument("--obj", type=Path, help="object directory of a kernel that is built already")


def object_directory(impl: str, arch: str, small: bool = False) -> Path:
    """Builds the kernel of an implementation, if it is not up to date; returns the directory of its objects."""
    from . import kernel  # pylint: disable=import-outside-toplevel  # with --obj a guest boots without what builds

    return kernel.build(kernel.Kernel(impl=impl, arch=arch, small=small))
