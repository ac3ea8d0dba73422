# SPDX-License-Identifier: GPL-2.0
"""
The overlay as a series of patches: git am takes it, and checkpatch.pl has nothing to object.
"""

import sys
from typing import Iterator

import kernel
from checklib import Context, Result, failed, output_of, passed
from hostlib import SCRIPTS

ORDER = 15


def run(context: Context) -> Iterator[Result]:
    context.progress("writing the patches")
    status, output = output_of([sys.executable, SCRIPTS / "overlay.py", "series", kernel.prepare_tree()])
    name = "the patches apply, and follow the kernel's style"
    # The last line says that checkpatch.pl has seen them.
    complete = status == 0 and "nothing to object" in output
    yield passed(name) if complete else failed(name, output[-4000:])
