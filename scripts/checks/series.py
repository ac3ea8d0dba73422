# SPDX-License-Identifier: GPL-2.0
"""
The overlay as a series of patches: git am applies it, and checkpatch.pl has no complaints.
"""

import os
import sys
from pathlib import Path
from typing import Dict, Iterator

from harness import kernel, series
from harness.checklib import Context, Result, failed, output_of, passed
from harness.hostlib import BUILD, SCRIPTS, Failure

ORDER = 15

# A directory apart from a person's own series, which may have another author.
OUT = BUILD / "check/series"
TESTER = {"GIT_AUTHOR_NAME": "A Tester", "GIT_AUTHOR_EMAIL": "tester@example.org"}


def author(tree: Path) -> Dict[str, str]:
    """Returns the author of the patches, as git's variables. These patches are never sent, so any name does if git has none."""
    try:
        return series.identity(tree)
    except Failure:
        return TESTER


def run(context: Context) -> Iterator[Result]:
    tree = kernel.prepare_tree()
    context.progress("writing the patches")
    command = [sys.executable, SCRIPTS / "tree.py", "series", tree, "--out", OUT]
    status, output = output_of(command, env={**os.environ, **author(tree)})
    name = "the patches apply, and follow the kernel's style"
    # The last line shows that checkpatch.pl has read them.
    complete = status == 0 and "no complaints" in output
    yield passed(name) if complete else failed(name, output[-4000:])
