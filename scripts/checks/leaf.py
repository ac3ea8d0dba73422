# SPDX-License-Identifier: GPL-2.0
"""
All paths from the hooks stay in the implementation, and none can panic. Stores are in order.

Remote sections are published complete, and their records before the count. The list of calls of hooks has each of them.
"""

import sys
from pathlib import Path
from typing import Iterator

from harness import kconfig
from harness.checklib import Context, Result, each_kernel, failed, output_of, passed, skipped, verdict
from harness.hostlib import SCRIPTS
from leaf.elf import Elf
from leaf.sites import check_sites

ORDER = 40
QUICK = True

LEAFCHECK = SCRIPTS / "leafcheck.py"


def run(context: Context) -> Iterator[Result]:
    if context.quick:
        if not context.objects:
            yield skipped("the hooks are leaves", "no kernel was built yet; `make run ARCH=um` builds one.")
            return
    else:
        context.progress("self-test")
        status, output = output_of([sys.executable, LEAFCHECK, "--self-test"])
        # A check that cannot fail proves nothing, so the check first shows that it detects bad objects.
        yield failed("the check catches bad objects", output[-4000:]) if status else passed("the check catches bad objects")

    def one(impl: str, obj: Path) -> Iterator[Result]:
        context.progress(f"{impl} kernel")
        status, output = output_of([sys.executable, LEAFCHECK, obj / "vmlinux", "--impl", impl])
        name = f"{impl}: the hooks are leaves"
        yield failed(name, output[-4000:]) if status else passed(name)
        if kconfig.of_objects(obj).get("CONFIG_KCOV_SITES") == "y":
            calls, jumps, problems = check_sites(Elf(obj / "vmlinux"))
            context.progress(f"{impl} kernel: {calls} calls, {jumps} jumps")
            yield verdict(f"{impl}: each call of a hook is listed", problems)

    yield from each_kernel(context, one)
