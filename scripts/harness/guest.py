# SPDX-License-Identifier: GPL-2.0
"""
Boots a kernel with a small initramfs, runs a command there and brings the result back; or gives a shell in it.

KVM=1 in the environment uses KVM if a trial boot shows that it works here; QEMU's emulation is used otherwise.
"""

import argparse
import fcntl
import functools
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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Callable, Dict, Iterator, List, Optional, Tuple

from . import console, initramfs, kconfig, tsc
from .hostlib import BUILD, CACHE, SCRIPTS, chosen, command_output, die, shown, step, warn

PORTS = ("output", "files", "verdict")
RUNS = BUILD / "guest"


@dataclass(frozen=True)
class Machine:
    """What differs between architectures on the way from a kernel's object directory to a running guest."""

    arch: str
    image: str
    console: str
    # QEMU's binary, or None where the kernel is a program itself (user-mode Linux).
    qemu: Optional[str]
    options: Tuple[str, ...] = ()
    # The bus for the ports of the results: PCI, or memory-mapped virtio.
    serial_bus: str = "virtio-serial-pci"
    kernel_args: Tuple[str, ...] = ()
    # Debian's name of the architecture, for its busybox; None: the host's own.
    debian: Optional[str] = None
    # What uname -m says on a host that could run it with KVM.
    native: str = ""


MACHINES = {
    machine.arch: machine
    for machine in (
        Machine(
            arch="x86_64",
            image="arch/x86/boot/bzImage",
            console="ttyS0",
            qemu="qemu-system-x86_64",
            options=("-machine", "pc", "-cpu", "max"),
            kernel_args=("earlycon=uart8250,io,0x3f8",),
            native="x86_64",
        ),
        Machine(
            arch="arm64",
            image="arch/arm64/boot/Image",
            console="ttyAMA0",
            qemu="qemu-system-aarch64",
            options=("-machine", "virt", "-cpu", "max,pauth-impdef=on"),
            serial_bus="virtio-serial-device",
            kernel_args=("earlycon",),
            debian="arm64",
            native="aarch64",
        ),
        Machine(
            arch="riscv64",
            image="arch/riscv/boot/Image",
            console="ttyS0",
            qemu="qemu-system-riscv64",
            options=("-machine", "virt", "-cpu", "rv64"),
            serial_bus="virtio-serial-device",
            kernel_args=("earlycon",),
            debian="riscv64",
            native="riscv64",
        ),
        Machine(arch="um", image="vmlinux", console="tty0", qemu=None),
    )
}


@dataclass(frozen=True)
class Guest:
    """One boot: which kernel, what it finds in its initramfs, what it runs."""

    obj: Path
    name: str
    command: str = "true"
    files: Dict[str, initramfs.Source] = field(default_factory=dict)
    arch: str = "x86_64"
    timeout: float = 300
    memory: str = "2G"
    smp: int = 2
    # The processors of the host that it may use; empty: all.
    cpus: Tuple[int, ...] = ()
    kernel_args: Tuple[str, ...] = ()
    qemu_args: Tuple[str, ...] = ()
    # Reports on the console that are no failure.
    expected: Tuple[console.Expected, ...] = ()
    kvm: bool = False
    # Whether the kernel decides about its hooks by itself, see hooks_args().
    default_hooks: bool = False
    # What QEMU does without KVM; chosen by its version if empty. With -icount among qemu_args, only one thread is
    # possible.
    emulation: str = ""

    @property
    def machine(self) -> Machine:
        return MACHINES[self.arch]

    @property
    def run(self) -> Path:
        """The directory that keeps everything of this boot."""
        return RUNS / self.name


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


def busybox(machine: Machine) -> Path:
    """A static busybox for the guest."""
    if machine.debian is None:
        found = shutil.which("busybox")
        candidates = [Path(found)] if found else []
    else:
        root = CACHE / f"busybox-{machine.debian}"
        candidates = [path for path in (root / "bin/busybox", root / "usr/bin/busybox") if path.exists()]
    if not candidates:
        part = "base" if machine.debian is None else machine.arch
        die(f"there is no busybox for a guest of {machine.arch}; run `scripts/setup.sh {part}`.")
    if b"\x7fELF" != candidates[0].read_bytes()[:4]:
        die(f"{candidates[0]} is no ELF program; a static busybox is needed (`scripts/setup.sh base`).")
    return candidates[0].resolve()


def write_initramfs(guest: Guest, target: Path, interactive: bool = False) -> None:
    files: Dict[str, initramfs.Source] = {
        "/init": SCRIPTS / "guest/init",
        "/bin/busybox": busybox(guest.machine),
        **guest.files,
    }
    if interactive:
        size = shutil.get_terminal_size()
        term = os.environ.get("TERM", "linux")
        files["/guest/profile"] = f"export TERM={term}; stty rows {size.lines} cols {size.columns}\n".encode()
    else:
        files["/guest/command"] = (guest.command.rstrip("\n") + "\n").encode()
    initramfs.write(target, files)


def command_line(guest: Guest, initrd: Path, interactive: bool = False) -> List[str]:
    """The program that is the guest, with its arguments."""
    machine = guest.machine
    image = guest.obj / machine.image
    if not image.exists():
        die(f"there is no kernel in {shown(image)}; build it first (`make kernel`).")
    pinned = ["taskset", "-c", ",".join(map(str, guest.cpus))] if guest.cpus else []
    kernel_args = [f"console={machine.console}", "panic=-1", *machine.kernel_args]
    kernel_args += [*clock_args(guest), *paging_args(guest), *watchdog_args(guest), *hooks_args(guest)]
    kernel_args += guest.kernel_args
    if machine.qemu is None:
        terminal = "con0=fd:0,fd:1" if interactive else "con0=fd:1"
        # hostfs takes its directory from the mount's options, which end at a comma.
        ports = [] if interactive else [f"guest.ports={guest.run}/ports"]
        # With several processors it keeps programs in check by seccomp only, which it does not choose by itself.
        processors = [f"ncpus={guest.smp}", "seccomp=on"] if has_option(guest, "CONFIG_SMP") else []
        return [
            *pinned,
            str(image),
            f"mem={guest.memory}",
            f"initrd={initrd}",
            f"uml_dir={guest.run}",
            terminal,
            "con=null",
            "noreboot",
            *processors,
            *kernel_args,
            *ports,
        ]
    log = f"logfile={_option(guest.run / 'console.log')}"
    console_device = "stdio,mux=on,signal=off" if interactive else "null"
    command = [
        *pinned,
        *(machine.qemu, "-accel", accelerator(guest), *machine.options),
        *("-smp", str(guest.smp), "-m", guest.memory, "-no-reboot"),
        *("-no-user-config", "-nodefaults", "-display", "none"),
        *("-kernel", str(image), "-initrd", str(initrd), "-append", " ".join(kernel_args)),
        *("-chardev", f"{console_device},id=console,{log}", "-serial", "chardev:console"),
    ]
    if interactive:
        command += ["-mon", "chardev=console"]
    else:
        command += ["-device", machine.serial_bus]
        for port in PORTS:
            command += ["-chardev", f"file,id={port},path={_option(guest.run / 'ports' / port)}"]
            command += ["-device", f"virtserialport,chardev={port},name={port}"]
    return [*command, *machine_args(guest), *guest.qemu_args]


# The first QEMU that locks a page of code while it translates it.
CODE_IS_LOCKED = (8, 1)


def emulation(qemu: str) -> str:
    """
    How QEMU emulates processors: with a thread each, where that is safe. Older versions may go on running an
    instruction that another processor has replaced meanwhile. The kernel replaces instructions all the time (jump
    labels), and a breakpoint that comes too late ends in a crash.
    """
    return "tcg,thread=multi" if locks_code(qemu) else "tcg,thread=single"


@functools.lru_cache(maxsize=None)
def locks_code(qemu: str) -> bool:
    """Whether this QEMU is one of those that lock a page of code while they translate it."""
    version = re.search(r"version (\d+)\.(\d+)", command_output(qemu, "--version") or "")
    return bool(version) and (int(version[1]), int(version[2])) >= CODE_IS_LOCKED


def accelerator(guest: Guest) -> str:
    """What QEMU runs the guest's processors with."""
    if guest.kvm:
        return "kvm"
    return guest.emulation or emulation(guest.machine.qemu or "")


def patches_safely(guest: Guest) -> bool:
    """Whether a guest may replace instructions while another of its processors runs them."""
    qemu = guest.machine.qemu
    return guest.kvm or qemu is None or guest.smp == 1 or locks_code(qemu) or "thread=multi" not in accelerator(guest)


def hooks_args(guest: Guest) -> List[str]:
    """
    KCOV in Rust does not patch its hooks where QEMU emulates the processor, because some versions of QEMU cannot bear it.
    Everything about that is tested in these guests, so they are told to do it where it is safe.
    """
    switched = has_option(guest, "CONFIG_KCOV_RUST") and patches_safely(guest) and not guest.default_hooks
    return ["kcov_hooks=switched"] if switched else []


def clock_args(guest: Guest) -> List[str]:
    """What a guest must be told about its clock, because measuring it fails on a busy host."""
    frequency = tsc.kilohertz()
    if guest.arch != "x86_64" or guest.kvm or "-icount" in guest.qemu_args or not frequency:
        return []
    return [f"tsc_early_khz={frequency}", "tsc=reliable", "no_timer_check"]


# What a kernel has anyway before it reports that RCU waits, and what a guest may stand still at most without a report.
RCU_SECONDS, STANDSTILL_SECONDS = 21, 100


def watchdog_args(guest: Guest) -> List[str]:
    """
    The guest's clock goes on while the host does not run the guest, so that a busy host looks to it like a CPU that
    hangs. What really hangs is reported later, but long before the guest's time is over. Parameters that the kernel does
    not know would be passed on to init.
    """
    seconds = max(RCU_SECONDS, min(STANDSTILL_SECONDS, int(guest.timeout) // 3))
    limits = {
        "CONFIG_RCU_STALL_COMMON": f"rcupdate.rcu_cpu_stall_timeout={seconds}",
        # It takes twice this.
        "CONFIG_SOFTLOCKUP_DETECTOR": f"watchdog_thresh={seconds // 2}",
        "CONFIG_WQ_WATCHDOG": f"workqueue.watchdog_thresh={seconds}",
    }
    return [parameter for option, parameter in limits.items() if has_option(guest, option)]


def paging_args(guest: Guest) -> List[str]:
    """
    KASAN's idea of where memory begins depends on the CPU having page tables of five levels, as QEMU's has. The kernel
    forgets what the CPU has for a moment while it looks again at boot (identify_cpu()), so KASAN reports every address
    that an interrupt uses just then.
    """
    return ["no5lvl"] if guest.arch == "x86_64" and has_option(guest, "CONFIG_KASAN") else []


def machine_args(guest: Guest) -> List[str]:
    """Large kernels that check all memory do not find the interrupts of devices on QEMU's older machine."""
    large = any(has_option(guest, option) for option in ("CONFIG_KMSAN", "CONFIG_DEBUG_KMEMLEAK"))
    return ["-machine", "q35"] if guest.arch == "x86_64" and large else []


def has_option(guest: Guest, option: str) -> bool:
    """Whether the kernel was built with an option, as far as its object directory says."""
    return (guest.obj / ".config").exists() and kconfig.of_objects(guest.obj).get(option) == "y"


def _option(path: Path) -> str:
    """A path within an option of QEMU, where a comma ends the value unless it is doubled."""
    return str(path).replace(",", ",,")


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


def check_emulator(machine: Machine) -> None:
    if machine.qemu and not shutil.which(machine.qemu):
        part = "base" if machine.arch == "x86_64" else machine.arch
        die(f"{machine.qemu} was not found; install it with `scripts/setup.sh {part}`.")


# Whether KVM boots a given kernel image here.
_kvm_works: Dict[Path, bool] = {}


def with_accelerator(guest: Guest) -> Guest:
    """GUEST with KVM if that was asked for and a trial boot shows that it works."""
    if os.environ.get("KVM", "0") in ("", "0", "n") or guest.machine.qemu is None:
        return guest
    if guest.obj not in _kvm_works:
        works = False
        if guest.machine.native == os.uname().machine and os.access("/dev/kvm", os.R_OK | os.W_OK):
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
    check_emulator(guest.machine)
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
            output, copier = (errors, None) if guest.machine.qemu else copying(guest.run / "console.log")
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
    check_emulator(guest.machine)
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
    parser.add_argument("--arch", choices=sorted(MACHINES), default=chosen("ARCH", MACHINES, "x86_64"))
    parser.add_argument("--obj", type=Path, help="object directory of a kernel that is built already")


def object_directory(impl: str, arch: str, small: bool = False) -> Path:
    """Builds the kernel of an implementation, if it is not up to date; returns the directory of its objects."""
    from . import kernel  # pylint: disable=import-outside-toplevel  # with --obj a guest boots without what builds

    return kernel.build(kernel.Kernel(impl=impl, arch=arch, small=small))
