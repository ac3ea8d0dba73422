# SPDX-License-Identifier: GPL-2.0
"""
User-mode Linux: the kernel is a program of the host, and its guests run programs of the host.
"""

from .base import Architecture
from .x86_64 import X86

ARCHITECTURE = Architecture(
    name="um",
    make="um",
    target="vmlinux",
    image="vmlinux",
    instructions=X86(),
    # No USB: user-mode Linux has no bus.
    fragments=("vhost", "samples"),
    runs_host_programs=True,
    console="tty0",
    # User-mode Linux has no map of a machine's memory.
    code_in_kcore=False,
    # Its memory is at the start of this range.
    addresses=range(0x60000000, 0x60000000 + (2 << 30)),
)
