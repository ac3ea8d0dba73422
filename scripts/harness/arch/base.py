# SPDX-License-Identifier: GPL-2.0
"""
The facts that every architecture has to give.
"""

from dataclasses import dataclass, field
from typing import Callable, Mapping, Optional, Tuple

from .instructions import Instructions


@dataclass(frozen=True)
class Architecture:
    """
    One architecture. The packages that it needs are in scripts/setup.sh, which has to run before there is a Python;
    options of its kernels are in scripts/config.
    """

    # As in ARCH=, and in the names of files.
    name: str

    # The kernel's build: the name of the architecture, the target, and what that makes.
    make: str
    target: str
    image: str
    # Its code, for the leaf check.
    instructions: Instructions

    # GCC's cross compiler.
    cross: str = ""
    # What kernels for the tests have besides the suite: files in scripts/config.
    fragments: Tuple[str, ...] = ()

    # Programs for its guests: the C compiler, the name under which the kernel has the headers, Rust's name.
    compiler: str = "gcc"
    headers: str = "x86"
    rust_target: str = "x86_64-unknown-linux-gnu"
    # Whether its guests run programs of the host.
    runs_host_programs: bool = False

    # Other names that people use.
    aliases: Tuple[str, ...] = ()
    # The part of setup.sh that brings the compiler, the emulator and a busybox.
    setup_part: str = "base"

    # Guests: the terminal of the console, and QEMU's binary, or None where the kernel is a program itself.
    console: str = "ttyS0"
    qemu: Optional[str] = None
    qemu_options: Tuple[str, ...] = ()
    # The machine for kernels without PCI, if that is another one, and what they have to be told there.
    qemu_options_without_pci: Tuple[str, ...] = ()
    args_without_pci: Tuple[str, ...] = ()
    # Options for large kernels, which check all memory.
    large_options: Tuple[str, ...] = ()
    # The bus for the ports of the results: PCI, or memory-mapped virtio.
    serial_bus: str = "virtio-serial-pci"
    kernel_args: Tuple[str, ...] = ()
    # More parameters, for kernels with an option.
    option_args: Mapping[str, Tuple[str, ...]] = field(default_factory=dict)
    # A parameter that keeps the kernel from distrusting its clock on a busy host, and what it is told about its clock,
    # because measuring it fails there.
    trusted_clock: Tuple[str, ...] = ()
    known_clock: Callable[[], Tuple[str, ...]] = tuple
    # Debian's name of the architecture, for its busybox; None: the host's own.
    debian: Optional[str] = None
    # The output of uname -m on a host that could run it with KVM.
    native: str = ""

    # Whether the kernel replaces an instruction by way of a breakpoint.
    patches_by_breakpoint: bool = False
    # Whether /proc/kcore has the kernel's code.
    code_in_kcore: bool = True
    # The name of read(2) in the table of system calls.
    read_call: str = "sys_read"
    # Addresses in the kernel: up to where negative error numbers begin.
    addresses: range = range(0xFF00 << 48, (1 << 64) - 4095)
