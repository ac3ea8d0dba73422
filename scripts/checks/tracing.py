# SPDX-License-Identifier: GPL-2.0
"""
The hooks can neither be traced nor probed, because a tracer that ran at each of their calls is instrumented itself.

In a guest, every function that a hook runs is offered to the function tracer and to kprobes, which must refuse it. Then
a system call is collected while everything else is traced. Functions of the system call itself show that the tracer and
kprobes do accept other functions.
"""

import json
import sys
from pathlib import Path
from typing import Iterator, List, Set

from harness import guest, kconfig, programs
from harness.checklib import Context, Result, each_kernel, failed, output_of, verdict
from harness.hostlib import SCRIPTS, TOP, Failure

ORDER = 60
# The default kernels have no tracers. The cell `tracing` of the matrix runs this check.
ON_DEMAND = True

OPTIONS = ("CONFIG_FUNCTION_TRACER", "CONFIG_DYNAMIC_FTRACE", "CONFIG_KPROBE_EVENTS")
# Functions that run in the sample's read(2), and that must be both offered and accepted.
ORDINARY = ("ksys_read", "vfs_read", "__x64_sys_read")
COMMAND = """
mount -t tracefs tracefs /sys/kernel/tracing && cd /sys/kernel/tracing || exit 1
cat available_filter_functions >/results/available
for name in {names}; do
	if echo "p:kcov/$name $name" >>kprobe_events && echo 1 >events/kcov/$name/enable; then
		echo $name
	fi
done >/results/probed 2>/dev/null
/pc >/dev/null || exit 2
echo 0 >events/enable
echo >kprobe_events
echo 0 >tracing_on
echo >trace
echo function >current_tracer || exit 3
echo 1 >tracing_on
/pc >/results/pcs || exit 4
echo 0 >tracing_on
cat trace >/results/trace
"""


def functions(obj: Path, impl: str) -> Set[str]:
    """Returns the functions that the hooks run, as the leaf check finds them."""
    status, said = output_of([sys.executable, SCRIPTS / "leafcheck.py", "--json", "--impl", impl, obj / "vmlinux"])
    if status:
        raise Failure(f"the hooks are not leaves, see the check `leaf`: {said[-1000:]}")
    return {name for hook in json.loads(said)["hooks"] for name in (hook["hook"], *hook["functions"])}


def words(path: Path) -> Set[str]:
    return {line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()}


def traced(path: Path) -> Set[str]:
    """Returns the functions in a trace, whose lines end with `function <-caller`."""
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines() if "<-" in line)
    return {line[-2] for line in lines}


def refusals(title: str, taken: Set[str], hooks: Set[str]) -> Result:
    problems: List[str] = [f"{name} was accepted" for name in sorted(taken & hooks)]
    if not taken & set(ORDINARY):
        problems.append(f"none of {', '.join(ORDINARY)} was accepted, so this proves nothing")
    return verdict(title, problems)


def run(context: Context) -> Iterator[Result]:
    def one(impl: str, obj: Path) -> Iterator[Result]:
        config = kconfig.of_objects(obj)
        missing = [name for name in OPTIONS if config.get(name) != "y"]
        if missing:
            yield failed(f"{impl}: the kernel can trace", f"it lacks {', '.join(missing)}; `make matrix ONLY=tracing` has one.")
            return
        hooks = functions(obj, impl)
        outcome = context.boot(
            guest.Guest(
                obj=obj,
                name=f"tracing-{impl}",
                arch=context.arch,
                command=COMMAND.format(names=" ".join(sorted(hooks | set(ORDINARY)))),
                files={"/pc": programs.build(TOP / "samples/kcov/pc.c", obj, context.arch)},
            )
        )
        problems = outcome.failures()
        yield verdict(f"{impl}: the guest traces and probes", problems)
        if problems:
            return
        yield refusals(f"{impl}: the function tracer does not offer the hooks", words(outcome.results / "available"), hooks)
        yield refusals(f"{impl}: kprobes refuse the hooks", words(outcome.results / "probed"), hooks)
        yield refusals(f"{impl}: a trace of everything is without the hooks", traced(outcome.results / "trace"), hooks)
        pcs = (outcome.results / "pcs").read_text(encoding="ascii").split()
        yield verdict(f"{impl}: a traced system call is collected", [] if pcs else ["no PC was recorded"])

    yield from each_kernel(context, one)
