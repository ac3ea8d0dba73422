# SPDX-License-Identifier: GPL-2.0
"""
The architectures. Each file has all that the scripts know of one architecture.
"""

import os
from typing import Dict

from ..hostlib import die
from . import arm64, riscv64, um, x86_64
from .base import Architecture

ARCHITECTURES: Dict[str, Architecture] = {
    module.ARCHITECTURE.name: module.ARCHITECTURE for module in (x86_64, um, arm64, riscv64)
}
DEFAULT = x86_64.ARCHITECTURE.name


def named(name: str) -> Architecture:
    """Returns an architecture by any of its names."""
    for architecture in ARCHITECTURES.values():
        if name in (architecture.name, *architecture.aliases):
            return architecture
    die(f"the architecture '{name}' is not supported here; ARCH is one of: {' '.join(ARCHITECTURES)}.")


def chosen() -> str:
    """
    Returns the name of the architecture that the variable ARCH names. It is checked here, because argparse does not
    check defaults.
    """
    return named(os.environ.get("ARCH") or DEFAULT).name
