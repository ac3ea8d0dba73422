# SPDX-License-Identifier: GPL-2.0
"""
The overlay as a series of patches: git am takes it, and checkpatch.pl has nothing to object.
"""

import os
import sys
from pathlib import Path
from typing import Dict, Iterator

from harness import kernel, series
from harness.checklib import Context, Result, failed, output_of, passed
from harness.hostlib import BUILD, SCRIPTS, Failure

ORDER = 15

# Apart from what a person has made, who may be another author.
OUT = BUILD / "check/series"
NOBODY = {"GIT_AUTHOR_NAME": "A Tester", "GIT_AUTHOR_EMAIL": "tester@example.org"}


def author(tree: Path) -> Dict[str, str]:
    """Who signs the patches, as git's variables. Nobody sends these, so any name does where git knows none."""
    try:
        return series.identity(tree)
    except Failure:
        return NOBODY


def run(context: Context) -> Iterator[Result]:
    tree = kernel.prepare_tree()
    context.progress("writing the patches")
    command = [sys.executable, SCRIPTS / "tree.py", "series", tree, "--out", OUT]
    status, output = output_of(command, env={**os.environ, **author(tree)})
    name = "the patches apply, and follow the kernel's style"
    # The last line says that checkpatch.pl has seen them.
    complete = status == 0 and "nothing to object" in output
    yield passed(name) if complete else failed(name, output[-4000:])
