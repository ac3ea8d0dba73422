# SPDX-License-Identifier: GPL-2.0
"""
Measures the memory of an implementation: code and data, fields of every task, descriptors, handles, areas.
"""

import re
from pathlib import Path
from typing import Dict, List, Tuple

from .. import guest
from ..hostlib import command_output, die, shown
from . import hooks
from .boots import Boot, lines_of
from .figures import IMPLS, Figure, pair
from .layout import Task

# Sections that are freed after boot, or turned into tables that are the same for both implementations.
TEMPORARY = re.compile(r"\.init|\.exit|\.discard|\.modinfo|\.export_symbol|\.orc_unwind|\.kunit")
# KUnit tests are compiled into the crate when they are configured, but are not part of the implementation.
TEST = re.compile(r"::tests::")

SECTION = re.compile(r" *\d+ (?P<name>\S+) +(?P<size>[0-9a-f]+) .* 2\*\*\d+ +(?P<flags>[A-Z, ]+)$")
SYMBOL = re.compile(r"[0-9a-f]+ .{6}(?P<kind>[FO ]) (?P<section>\S+)\t(?P<size>[0-9a-f]+) +(?:\.hidden )?(?P<name>.+)$")


def sections(path: Path) -> Dict[str, Tuple[int, bool]]:
    """Returns the sections that stay in memory: their sizes, and whether they are code."""
    text = command_output("objdump", "-h", "-w", str(path))
    found = {}
    for line in (text or "").splitlines():
        match = SECTION.match(line)
        if match and "ALLOC" in match["flags"] and not TEMPORARY.match(match["name"]):
            found[match["name"]] = (int(match["size"], 16), "CODE" in match["flags"])
    if not found:
        die(f"objdump finds no section in {shown(path)}.")
    return found


def symbols(path: Path) -> List[Tuple[str, str, int]]:
    """Returns name, section and size of each symbol that an object file defines."""
    text = command_output("objdump", "-t", "-C", "-w", str(path))
    matches = filter(None, map(SYMBOL.match, (text or "").splitlines()))
    return [(match["name"], match["section"], int(match["size"], 16)) for match in matches if match["kind"] != " "]


def sizes(paths: List[Path]) -> Dict[str, float]:
    """Returns the size of text and data of object files without their tests, and of the text of the hooks."""
    result: Dict[str, float] = {"text": 0, "data": 0, "hooks.all": 0, "hooks.trace_pc": 0, "hooks.trace_cmp4": 0}
    for path in paths:
        kept = sections(path)
        for size, code in kept.values():
            result["text" if code else "data"] += size
        seen = set()
        for name, section, size in symbols(path):
            if section not in kept or (name, section) in seen:
                continue
            seen.add((name, section))
            if TEST.search(name):
                result["text" if kept[section][1] else "data"] -= size
            hook = re.fullmatch(r"__sanitizer_cov_(trace_\w+)", name)
            if hook:
                result["hooks.all"] += size
                if f"hooks.{hook[1]}" in result:
                    result[f"hooks.{hook[1]}"] += size
    if not all(result.values()):
        die(f"{', '.join(name for name, size in result.items() if not size)}: not found in {shown(paths[0])}.")
    return result


RETURN = re.compile(r" *(?P<address>[0-9a-f]+):\t(?:ret|jmp +[0-9a-f]+ <__x86_return_thunk)")


def hot_bytes(path: Path) -> int:
    """Returns the bytes of trace_pc up to its first return. These bytes must be in the cache when it records."""
    code = command_output("objdump", "-d", "--no-show-raw-insn", "--disassemble=__sanitizer_cov_trace_pc", str(path))
    lines = (code or "").splitlines()
    start = next((line.split()[0] for line in lines if line.endswith("<__sanitizer_cov_trace_pc>:")), None)
    end = next(filter(None, map(RETURN.match, lines)), None)
    if start is None or end is None:
        die(f"objdump finds no trace_pc in {shown(path)}.")
    return int(end["address"], 16) + 1 - int(start, 16)


def object_figures(objs: Dict[str, Path]) -> List[Figure]:
    """Returns the figures that can be read from the object files."""
    found = {}
    for impl in IMPLS:
        paths = hooks.objects(impl, objs[impl], everything=True)
        found[impl] = sizes(paths)
        found[impl]["hooks.trace_pc.hot"] = hot_bytes(paths[0])
        task = Task.of(objs[impl])
        found[impl].update({"task_struct.fields": task.used, "task_struct.all": task.size})
    return [pair(f"size.{name}", "bytes", {impl: found[impl][name] for impl in IMPLS}) for name in found["c"]]


# Sections of these sizes run, and then the memory that stays in use is measured.
SECTION_WORDS = (1024, 4096, 65536)


def boot(smoke: bool) -> Boot:
    """Returns the part of the counting guest, since nothing else happens there. It needs the files of remote.boot()."""
    calls = 100 if smoke else 1000
    use = "".join(
        f"handles 2 {words} sections kept.{words} {calls} what=hit registered=2 rounds=3 || exit\n"
        for words in SECTION_WORDS
    )
    return Boot(
        "statistics=/sys/kernel/debug/kcov_statistics/area_bytes\n"
        "if [ -e $statistics ]; then cat $statistics; else "
        "awk '/ kcov_init\\+/ { sum += $2 - 4096 } END { print sum + 0 }' /proc/vmallocinfo; fi >/results/size.boot\n"
        "handles memory >/results/size.memory || exit\n"
        # The first module that is loaded creates a cache for the code of modules, which stays.
        "sections first 100 what=zero rounds=1 || exit\n"
        "sleep 2; grep VmallocUsed: /proc/meminfo >/results/size.before\n"
        + use
        # Areas stay for up to ten seconds after the last user.
        + "sleep 15; grep VmallocUsed: /proc/meminfo >/results/size.after\n"
    )


def guest_figures(outcomes: Dict[str, guest.Outcome]) -> List[Figure]:
    """Returns the figures that the guests measured."""
    values: Dict[str, Dict[str, float]] = {name: {} for name in ("boot_areas", "descriptor", "handle", "kept")}
    for impl in IMPLS:
        outcome = outcomes[impl]
        for name, size in lines_of(outcome, "size.memory", 2):
            values[name][impl] = float(size)
        values["boot_areas"][impl] = float(lines_of(outcome, "size.boot", 1)[0][0]) / 1024
        before, after = (float(lines_of(outcome, f"size.{moment}", 3)[0][1]) for moment in ("before", "after"))
        # Another part of the kernel may have freed memory between the two measurements.
        values["kept"][impl] = max(after - before, 0)
    units = {"boot_areas": "KiB", "kept": "KiB"}
    names = {"kept": "kept_after_last_user", "descriptor": "open_descriptor", "handle": "attached_handle"}
    return [pair(f"size.{names.get(name, name)}", units.get(name, "bytes"), values[name]) for name in values]
