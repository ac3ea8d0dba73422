# SPDX-License-Identifier: GPL-2.0
"""
Lets kmemleak search for memory that was lost while a guest ran its command.

A search that finds nothing proves something only if it can find a leak. So a sample module of the kernel loses memory
on purpose before the command runs, and the search must find it.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Iterator, List, Tuple

from . import guest
from .checklib import Result, failed, verdict
from .console import Expected
from .hostlib import die, shown, text_of

OPTION = "CONFIG_DEBUG_KMEMLEAK"
MODULE = Path("samples/kmemleak/kmemleak-test.ko")
# The module that leaks on purpose is loaded by a process of its own, whose name is in the report of each leak. The names
# of the module's functions do not help: they are gone from memory once the module has been loaded.
LEAKER = "insmod"
# The sizes that the module allocates and loses at once, two objects of each size.
LEAKED_SIZES = (32, 1024, 2048, 4096)
EXPECTED = Expected(r"^kmemleak: \d+ new suspected memory leaks", "the contents of the file kmemleak are what counts")

# kmemleak reports an object that is a few seconds old if two scans found no pointer to it. An old pointer on a stack
# hides a leak until something overwrites it, so there are several attempts to find one that was made on purpose. The
# module stays loaded: unloading it would lose the memory that it still holds. The exit status is that of the command.
COMMAND = """
scan_for_leaks() {
	sleep 6
	echo scan >/sys/kernel/debug/kmemleak
	sleep 1
	echo scan >/sys/kernel/debug/kmemleak
	cat /sys/kernel/debug/kmemleak >"$1"
}
insmod /kmemleak-test.ko
for attempt in 1 2 3 4 5 6 7 8 9 10; do
	scan_for_leaks /results/leaks.purpose
	grep -q 'comm "LEAKER"' /results/leaks.purpose && break
done
(
COMMAND
)
status=$?
scan_for_leaks /results/leaks.left
exit $status
"""


def watched(boot: guest.Guest) -> guest.Guest:
    """Returns the guest with a search for leaks around its command, if the kernel supports that."""
    if not boot.has(OPTION):
        return boot
    module = boot.obj / MODULE
    if not module.exists():
        die(f"there is no {MODULE} in {shown(boot.obj)}, which loses memory on purpose; set SAMPLE_KMEMLEAK=m there.")
    return replace(
        boot,
        command=COMMAND.replace("LEAKER", LEAKER).replace("COMMAND", boot.command.strip("\n")),
        files={**boot.files, "/kmemleak-test.ko": module},
        # kmemleak keeps a record of each object, and its code needs memory too.
        memory="3G",
        expected=(*boot.expected, EXPECTED),
    )


def leaks(text: str) -> Tuple[List[str], List[str]]:
    """Splits the leaks in a report of kmemleak into those that were made on purpose, and the others."""
    purpose: List[str] = []
    others: List[str] = []
    for block in re.split(r"^(?=unreferenced object)", text, flags=re.MULTILINE):
        if block:
            (purpose if f'comm "{LEAKER}",' in block else others).append(block)
    return purpose, others


def judge_results(impl: str, results: Path) -> Iterator[Result]:
    name = f"{impl}: leaks that were made on purpose are found"
    left = text_of(results / "leaks.left")
    # A leak that the first scans did not find is found by the last.
    found = "".join(leaks((text_of(results / "leaks.purpose") or "") + (left or ""))[0])
    missing = [size for size in LEAKED_SIZES if f"(size {size})" not in found]
    # A word that looks like a pointer, anywhere in the scanned memory, can hide both leaks of a size to the end.
    few = len(missing) > len(LEAKED_SIZES) // 2
    yield verdict(name, [f"kmemleak did not find a leak of {size} bytes" for size in missing] if few else [])
    name = f"{impl}: nothing leaks"
    if left is None:
        yield failed(name, "the scan gave no result")
    else:
        yield verdict(name, "".join(leaks(left)[1]).splitlines()[:40])


def judge(impl: str, outcome: guest.Outcome) -> Iterator[Result]:
    """Yields the results of the search in a guest that was watched."""
    if outcome.guest.has(OPTION):
        yield from judge_results(impl, outcome.results)
