# SPDX-License-Identifier: GPL-2.0
"""
The facts that every architecture must give.
"""

from dataclasses import dataclass, field
from typing import Callable, Mapping, Optional, Tuple

from .instructions import Instructions


@dataclass(frozen=True)
class Architecture:
    """
    One architecture. The packages that it needs are in scripts/setup.sh, which runs before Python may be installed. The
    options of its kernels are in scripts/config.
    """

    # The name in ARCH= and in file names.
    name: str

    # The kernel's build: the name of the architecture, the target, and the file that the target makes.
    make: str
    target: str
    image: str
    # The machine code, for the leaf check.
    instructions: Instructions

    # The prefix of GCC's cross compiler.
    cross: str = ""
    # Files in scripts/config that kernels for the tests take in addition to the options of the suite.
    fragments: Tuple[str, ...] = ()

    # Programs for its guests: the C compiler, the kernel's name of the architecture for headers, and Rust's name.
    compiler: str = "gcc"
    headers: str = "x86"
    rust_target: str = "x86_64-unknown-linux-gnu"
    # True if its guests run programs of the host.
    runs_host_programs: bool = False

    # Other common names of the architecture.
    aliases: Tuple[str, ...] = ()
    # The part of setup.sh that installs the compiler, the emulator and a busybox.
    setup_part: str = "base"

    # Guests: the terminal of the console, and QEMU's binary, or None if the kernel is a program of the host.
    console: str = "ttyS0"
    qemu: Optional[str] = None
    qemu_options: Tuple[str, ...] = ()
    # The machine for kernels without PCI if it differs, and the parameters that such kernels need.
    qemu_options_without_pci: Tuple[str, ...] = ()
    args_without_pci: Tuple[str, ...] = ()
    # Options of QEMU for large kernels, which check all memory.
    large_options: Tuple[str, ...] = ()
    # The bus for the ports of the results: PCI, or memory-mapped virtio.
    serial_bus: str = "virtio-serial-pci"
    kernel_args: Tuple[str, ...] = ()
    # Additional kernel parameters for a kernel with the given option.
    option_args: Mapping[str, Tuple[str, ...]] = field(default_factory=dict)
    # A parameter that makes the kernel trust its clock on a busy host, and the parameters that tell it the frequency of
    # the clock, because measuring the frequency fails there.
    trusted_clock: Tuple[str, ...] = ()
    known_clock: Callable[[], Tuple[str, ...]] = tuple
    # Debian's name of the architecture, for the busybox package; None: the host's own busybox.
    debian: Optional[str] = None
    # The output of `uname -m` on a host that could run the architecture with KVM.
    native: str = ""

    # True if the kernel replaces an instruction by way of a breakpoint.
    patches_by_breakpoint: bool = False
    # True if /proc/kcore contains the kernel's code.
    code_in_kcore: bool = True
    # The name of read(2) in the table of system calls.
    read_call: str = "sys_read"
    # The addresses of the kernel, which end where negative error numbers begin.
    addresses: range = range(0xFF00 << 48, (1 << 64) - 4095)
