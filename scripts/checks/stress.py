# SPDX-License-Identifier: GPL-2.0
"""
Tasks open and close descriptors while sections run everywhere, for a minute.

`make stress` does the same for longer, on a kernel with debugging options.
"""

from typing import Iterator

import stress
from harness import guest
from harness.checklib import Context, Result

ORDER = 80

ROUNDS = 4
SEED = 1
# Far more than it takes, so that load on the machine does not decide the result.
SECONDS = 1200


def run(context: Context) -> Iterator[Result]:
    # The results of upstream's implementation are not this project's concern.
    for impl in set(context.impls) & {"rust"}:
        boot = stress.make_guest(impl, context.kernel(impl), context.arch, ROUNDS, SEED, SECONDS)

        def on_output(line: str, name: str = impl) -> None:
            if line.startswith("# "):
                context.progress(f"{name}: {line[2:]}")

        yield from stress.judge(impl, ROUNDS, guest.boot(boot, on_output))
