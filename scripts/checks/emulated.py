# SPDX-License-Identifier: GPL-2.0
"""
If QEMU emulates each processor in a thread of its own, the kernel does not patch the hooks, and does not crash.

QEMU and syz-manager start guests with several processors in this way. QEMU before 8.1 may then go on running an
instruction that another processor has replaced. All other guests here are started differently unless their QEMU is
newer.
"""

import re
from typing import Iterator, List

from harness import guest, programs
from harness.arch import ARCHITECTURES
from harness.checklib import Context, Result, boot_result, skipped, verdict
from harness.hostlib import TOP

ORDER = 57

SAMPLE = TOP / "samples/kcov/pc.c"
SECONDS = 300
# Each program has the only buffer of the system, and twice there is none for a second.
ROUNDS = 40
COMMAND = f"""
read hooks </sys/kernel/debug/kcov_statistics/hooks
for round in $(seq {ROUNDS}); do
	/pc >/tmp/trace || exit
	[ $round != 20 ] || sleep 2
done
sleep 2
/pc || exit
echo "hooks $hooks"
echo "switches $(cat /sys/kernel/debug/kcov_statistics/hook_switches)"
"""


def judge(output: str) -> List[str]:
    """Returns the problems in the output of the guest."""
    problems = []
    if not re.search(r"^0x[0-9a-f]+$", output, re.M):
        problems.append(f"the program printed no PC: {output[-500:]}")
    missing = [line for line in ("hooks always", "switches 0") if line not in output.splitlines()]
    return problems + [f"the guest did not print `{line}`: {output[-500:]}" for line in missing]


def run(context: Context) -> Iterator[Result]:
    if "rust" not in context.impls:
        return
    if not ARCHITECTURES[context.arch].patches_by_breakpoint:
        yield skipped("rust: processors in threads of their own", "only x86 replaces instructions by way of a breakpoint")
        return
    obj = context.kernel("rust")
    boot = guest.Guest(
        obj=obj,
        name="emulated",
        command=COMMAND,
        files={"/pc": programs.build(SAMPLE, obj)},
        timeout=SECONDS,
        emulation="tcg,thread=multi",
        default_hooks=True,
    )
    outcome = context.boot(boot)
    yield boot_result("rust: the kernel stays sound with processors in threads of their own", outcome)
    if not outcome.death:
        yield verdict("rust: the hooks stay switched on", outcome.failures() or judge(outcome.output))
