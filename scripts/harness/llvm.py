# SPDX-License-Identifier: GPL-2.0
"""
Finds the programs of LLVM.
"""

import os
import re
import shutil
from pathlib import Path
from typing import List, Optional

from .hostlib import CACHE, first_line


def find(name: str) -> Optional[str]:
    """Returns a program of the LLVM that builds the kernel, or else of the machine's default LLVM, or else of the newest."""
    for candidate in (f"{name}{first_line(CACHE / 'llvm.suffix') or ''}", name):
        found = shutil.which(candidate)
        if found:
            return found
    versions: List[Path] = []
    for folder in filter(None, os.environ.get("PATH", "").split(os.pathsep)):
        versions += (path for path in Path(folder).glob(f"{name}-*") if re.fullmatch(r"\d+", path.name[len(name) + 1 :]))
    versions.sort(key=lambda path: int(path.name[len(name) + 1 :]))
    return str(versions[-1]) if versions else None
