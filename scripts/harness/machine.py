# SPDX-License-Identifier: GPL-2.0
"""
Guests before they run: the kernel, the initramfs, and the program that is the guest, with its arguments.
"""

import functools
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Tuple

from . import console, initramfs, kconfig
from .arch import ARCHITECTURES, DEFAULT, Architecture
from .hostlib import BUILD, CACHE, SCRIPTS, command_output, die, shown

PORTS = ("output", "files", "verdict")
RUNS = BUILD / "guest"


@dataclass(frozen=True)
class Guest:
    """One boot: which kernel, what it finds in its initramfs, what it runs."""

    obj: Path
    name: str
    command: str = "true"
    files: Mapping[str, initramfs.Source] = field(default_factory=dict)
    arch: str = DEFAULT
    timeout: float = 300
    memory: str = "2G"
    smp: int = 2
    # The processors of the host that it may use; empty: all.
    cpus: Tuple[int, ...] = ()
    kernel_args: Tuple[str, ...] = ()
    qemu_args: Tuple[str, ...] = ()
    # Reports on the console that are no failure.
    expected: Tuple[console.Expected, ...] = ()
    # Whether KVM runs it; None: if it works here, and nothing else was asked for.
    kvm: Optional[bool] = None
    # Whether the kernel decides about its hooks by itself, see hooks_args().
    default_hooks: bool = False
    # What QEMU does without KVM; chosen by its version if empty. With -icount among qemu_args, only one thread is
    # possible.
    emulation: str = ""

    @property
    def architecture(self) -> Architecture:
        return ARCHITECTURES[self.arch]

    @property
    def run(self) -> Path:
        """The directory that keeps everything of this boot."""
        return RUNS / self.name

    def has(self, option: str) -> bool:
        """Whether the kernel was built with an option, as far as its object directory says."""
        return (self.obj / ".config").exists() and kconfig.of_objects(self.obj).get(option) == "y"


def busybox(architecture: Architecture) -> Path:
    """A static busybox for the guest."""
    if architecture.debian is None:
        found = shutil.which("busybox")
        candidates = [Path(found)] if found else []
    else:
        root = CACHE / f"busybox-{architecture.debian}"
        candidates = [path for path in (root / "bin/busybox", root / "usr/bin/busybox") if path.exists()]
    if not candidates:
        die(f"there is no busybox for a guest of {architecture.name}; run `scripts/setup.sh {architecture.setup_part}`.")
    if candidates[0].read_bytes()[:4] != b"\x7fELF":
        die(f"{candidates[0]} is no ELF program; a static busybox is needed (`scripts/setup.sh base`).")
    return candidates[0].resolve()


def write_initramfs(guest: Guest, target: Path, interactive: bool = False) -> None:
    files: Dict[str, initramfs.Source] = {
        "/init": SCRIPTS / "guest/init",
        "/bin/busybox": busybox(guest.architecture),
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
    architecture = guest.architecture
    image = guest.obj / architecture.image
    if not image.exists():
        die(f"there is no kernel in {shown(image)}; build it first (`make kernel`).")
    pinned = ["taskset", "-c", ",".join(map(str, guest.cpus))] if guest.cpus else []
    pci = not architecture.qemu_options_without_pci or not (guest.obj / ".config").exists() or guest.has("CONFIG_PCI")
    kernel_args = [f"console={architecture.console}", "panic=-1", *architecture.kernel_args]
    kernel_args += [*clock_args(guest), *option_args(guest), *watchdog_args(guest), *hooks_args(guest)]
    kernel_args += [*(() if pci else architecture.args_without_pci), *guest.kernel_args]
    if architecture.qemu is None:
        terminal = "con0=fd:0,fd:1" if interactive else "con0=fd:1"
        # hostfs takes its directory from the mount's options, which end at a comma.
        ports = [] if interactive else [f"guest.ports={guest.run}/ports"]
        # With several processors it keeps programs in check by seccomp only, which it does not choose by itself.
        processors = [f"ncpus={guest.smp}", "seccomp=on"] if guest.has("CONFIG_SMP") else []
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
        *(architecture.qemu, "-accel", accelerator(guest)),
        *(architecture.qemu_options if pci else architecture.qemu_options_without_pci),
        *("-smp", str(guest.smp), "-m", guest.memory, "-no-reboot"),
        *("-no-user-config", "-nodefaults", "-display", "none"),
        *("-kernel", str(image), "-initrd", str(initrd), "-append", " ".join(kernel_args)),
        *("-chardev", f"{console_device},id=console,{log}", "-serial", "chardev:console"),
    ]
    if interactive:
        command += ["-mon", "chardev=console"]
    else:
        command += ["-device", architecture.serial_bus if pci else "virtio-serial-device"]
        for port in PORTS:
            command += ["-chardev", f"file,id={port},path={_option(guest.run / 'ports' / port)}"]
            command += ["-device", f"virtserialport,chardev={port},name={port}"]
    return [*command, *large_options(guest), *guest.qemu_args]


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
    return version is not None and (int(version[1]), int(version[2])) >= CODE_IS_LOCKED


def accelerator(guest: Guest) -> str:
    """What QEMU runs the guest's processors with."""
    if guest.kvm:
        return "kvm"
    return guest.emulation or emulation(guest.architecture.qemu or "")


def patches_safely(guest: Guest) -> bool:
    """Whether a guest may replace instructions while another of its processors runs them."""
    qemu = guest.architecture.qemu
    return bool(guest.kvm) or qemu is None or guest.smp == 1 or locks_code(qemu) or "thread=multi" not in accelerator(guest)


def hooks_args(guest: Guest) -> List[str]:
    """
    KCOV in Rust does not patch its hooks where QEMU emulates the processor, because some versions of QEMU cannot bear it.
    Everything about that is tested in these guests, so they are told to do it where it is safe.
    """
    switched = guest.has("CONFIG_KCOV_RUST") and patches_safely(guest) and not guest.default_hooks
    return ["kcov_hooks=switched"] if switched else []


def clock_args(guest: Guest) -> List[str]:
    """What a guest must be told about its clock, because measuring it fails on a busy host."""
    return [] if guest.kvm or "-icount" in guest.qemu_args else list(guest.architecture.known_clock())


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
    return [parameter for option, parameter in limits.items() if guest.has(option)]


def option_args(guest: Guest) -> List[str]:
    """What the architecture's kernels with some options must be told."""
    known = guest.architecture.option_args
    return [parameter for option, parameters in known.items() if guest.has(option) for parameter in parameters]


def large_options(guest: Guest) -> Tuple[str, ...]:
    """What large kernels that check all memory need of QEMU."""
    large = any(guest.has(option) for option in ("CONFIG_KMSAN", "CONFIG_DEBUG_KMEMLEAK"))
    return guest.architecture.large_options if large else ()


def _option(path: Path) -> str:
    """A path within an option of QEMU, where a comma ends the value unless it is doubled."""
    return str(path).replace(",", ",,")


def check_emulator(architecture: Architecture) -> None:
    if architecture.qemu and not shutil.which(architecture.qemu):
        die(f"{architecture.qemu} was not found; install it with `scripts/setup.sh {architecture.setup_part}`.")
