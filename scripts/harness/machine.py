# SPDX-License-Identifier: GPL-2.0
"""
Prepares guests: the kernel, the initramfs, and the program that runs the guest, with its arguments.
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
    """One boot: the kernel, the content of its initramfs, and the command that it runs."""

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
    # Reports on the console that are not failures.
    expected: Tuple[console.Expected, ...] = ()
    # True: KVM runs it; None: KVM runs it if KVM works here and the environment does not ask for emulation.
    kvm: Optional[bool] = None
    # True if the kernel decides about its hooks by itself, see hooks_args().
    default_hooks: bool = False
    # QEMU's kind of emulation without KVM; if empty, QEMU's version decides. With -icount in qemu_args, only one thread
    # is possible.
    emulation: str = ""

    @property
    def architecture(self) -> Architecture:
        return ARCHITECTURES[self.arch]

    @property
    def run(self) -> Path:
        """Returns the directory that keeps everything of this boot."""
        return RUNS / self.name

    def has(self, option: str) -> bool:
        """Returns True if the kernel was built with an option, according to its object directory."""
        return (self.obj / ".config").exists() and kconfig.of_objects(self.obj).get(option) == "y"


def busybox(architecture: Architecture) -> Path:
    """Returns a static busybox for the guest."""
    if architecture.debian is None:
        found = shutil.which("busybox")
        candidates = [Path(found)] if found else []
    else:
        root = CACHE / f"busybox-{architecture.debian}"
        candidates = [path for path in (root / "bin/busybox", root / "usr/bin/busybox") if path.exists()]
    if not candidates:
        die(f"there is no busybox for a guest of {architecture.name}; run `scripts/setup.sh {architecture.setup_part}`.")
    if candidates[0].read_bytes()[:4] != b"\x7fELF":
        die(f"{candidates[0]} is not an ELF program; install a static busybox (`scripts/setup.sh base`).")
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
    """Returns the program that runs the guest, with its arguments."""
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
        # With several processors, user-mode Linux can control programs by seccomp only, and does not choose it by itself.
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


# The first version of QEMU that locks a page of code while it translates it.
CODE_IS_LOCKED = (8, 1)


def emulation(qemu: str) -> str:
    """
    Returns QEMU's way to emulate processors: one thread for each, if that is safe. Older versions may go on running an
    instruction that another processor has replaced since. The kernel replaces instructions all the time (jump labels),
    and a breakpoint that comes too late ends in a crash.
    """
    return "tcg,thread=multi" if locks_code(qemu) else "tcg,thread=single"


@functools.lru_cache(maxsize=None)
def locks_code(qemu: str) -> bool:
    """Returns True if this version of QEMU locks a page of code while it translates it."""
    version = re.search(r"version (\d+)\.(\d+)", command_output(qemu, "--version") or "")
    return version is not None and (int(version[1]), int(version[2])) >= CODE_IS_LOCKED


def accelerator(guest: Guest) -> str:
    """Returns QEMU's accelerator for the guest's processors."""
    if guest.kvm:
        return "kvm"
    return guest.emulation or emulation(guest.architecture.qemu or "")


def patches_safely(guest: Guest) -> bool:
    """Returns True if a guest may replace instructions while another of its processors runs them."""
    qemu = guest.architecture.qemu
    return bool(guest.kvm) or qemu is None or guest.smp == 1 or locks_code(qemu) or "thread=multi" not in accelerator(guest)


def hooks_args(guest: Guest) -> List[str]:
    """
    Returns the parameter that lets KCOV in Rust patch its hooks where that is safe. By itself it does not patch them
    where QEMU emulates the processor, because some versions of QEMU crash. These guests test everything about patching.
    """
    if not guest.has("CONFIG_KCOV_RUST") or not patches_safely(guest) or guest.default_hooks:
        return []
    return ["kcov_hooks=sites" if guest.has("CONFIG_KCOV_SITES") else "kcov_hooks=switched"]


def clock_args(guest: Guest) -> List[str]:
    """Returns the parameters that tell a guest about its clock, because measuring it fails on a busy host."""
    return [] if guest.kvm or "-icount" in guest.qemu_args else list(guest.architecture.known_clock())


# The seconds that a kernel waits by default before it reports an RCU stall, and the longest pause of a guest that must
# not cause a report.
RCU_SECONDS, STANDSTILL_SECONDS = 21, 100


def watchdog_args(guest: Guest) -> List[str]:
    """
    Returns parameters that delay the kernel's watchdogs. The guest's clock advances while the host does not run the
    guest, so that a busy host looks to the guest like a CPU that hangs. A real hang is reported later, but long before
    the guest's timeout. Parameters that the kernel does not know would be passed on to init, so only known ones are
    given.
    """
    seconds = max(RCU_SECONDS, min(STANDSTILL_SECONDS, int(guest.timeout) // 3))
    limits = {
        "CONFIG_RCU_STALL_COMMON": f"rcupdate.rcu_cpu_stall_timeout={seconds}",
        # The watchdog waits twice this time.
        "CONFIG_SOFTLOCKUP_DETECTOR": f"watchdog_thresh={seconds // 2}",
        "CONFIG_WQ_WATCHDOG": f"workqueue.watchdog_thresh={seconds}",
    }
    return [parameter for option, parameter in limits.items() if guest.has(option)]


def option_args(guest: Guest) -> List[str]:
    """Returns the parameters that the architecture's kernels need with some options."""
    known = guest.architecture.option_args
    return [parameter for option, parameters in known.items() if guest.has(option) for parameter in parameters]


def large_options(guest: Guest) -> Tuple[str, ...]:
    """Returns the options of QEMU for kernels that are slow, because they check all memory or all locks."""
    large = any(guest.has(f"CONFIG_{option}") for option in ("KASAN", "KMSAN", "DEBUG_KMEMLEAK", "PROVE_LOCKING"))
    return guest.architecture.large_options if large else ()


def _option(path: Path) -> str:
    """Quotes a path within an option of QEMU, in which a comma ends the value unless it is doubled."""
    return str(path).replace(",", ",,")


def check_emulator(architecture: Architecture) -> None:
    if architecture.qemu and not shutil.which(architecture.qemu):
        die(f"{architecture.qemu} was not found; install it with `scripts/setup.sh {architecture.setup_part}`.")
