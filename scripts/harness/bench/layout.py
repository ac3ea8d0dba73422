# SPDX-License-Identifier: GPL-2.0
"""
The layout of task_struct in a kernel, from its debug information.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Dict

from ..hostlib import command_output, die, shown

# A small object file with the debug information of the structure. vmlinux has it too, but takes far longer to read.
OBJECT = "kernel/fork.o"


@dataclass(frozen=True)
class Field:
    offset: int
    size: int


@dataclass(frozen=True)
class Task:
    size: int
    # KCOV's own fields, by name.
    fields: Dict[str, Field]
    # The bytes from KCOV's first field to the field after its last one, with padding.
    used: int

    @staticmethod
    @lru_cache(maxsize=None)
    def of(obj: Path) -> "Task":
        """Reads the structure of the kernel that was built in OBJ."""
        path = obj / OBJECT
        if not path.exists():
            die(f"there is no {shown(path)}; the benchmark needs a kernel that was built, not only its image.")
        text = command_output("pahole", "-C", "task_struct", str(path))
        if not text:
            die(f"pahole finds no task_struct in {shown(path)}; install dwarves, and enable CONFIG_DEBUG_INFO.")
        # The implementation in Rust keeps its fields in a structure of their own.
        return parse(text, command_output("pahole", "-C", CONTEXT, str(path)) or "")


CONTEXT = "kcov_ctx"
MEMBER = re.compile(r"\t\S.*?\b(?P<name>\w+)(?:\[\d+\])*(?::\d+)?;\s*/\*\s*(?P<offset>\d+)(?::[ \d]+)?\s+(?P<size>\d+) \*/")
SIZE = re.compile(r"\t/\* size: (\d+), ")


def members(text: str) -> Dict[str, Field]:
    """Returns the fields of a structure that pahole printed, by name."""
    found = filter(None, map(MEMBER.match, text.splitlines()))
    return {match["name"]: Field(int(match["offset"]), int(match["size"])) for match in found}


def parse(text: str, context: str = "") -> Task:
    """Reads the output of `pahole -C task_struct`, and pahole's output for the structure with KCOV's fields if there is one."""
    size = SIZE.search(text)
    fields: Dict[str, Field] = {}
    after = None
    for line in text.splitlines():
        match = MEMBER.match(line)
        if not match:
            continue
        offset = int(match["offset"])
        if match["name"] == "kcov" or match["name"].startswith("kcov_"):
            fields[match["name"]] = Field(offset, int(match["size"]))
            after = None
        elif fields and after is None:
            after = offset
    if not size or not fields:
        die("the kernel's task_struct has no field for KCOV; was it built with CONFIG_KCOV?")
    first = min(field.offset for field in fields.values())
    if CONTEXT in fields:
        start = fields.pop(CONTEXT).offset
        inner = members(context)
        if not inner:
            die(f"pahole finds no {CONTEXT} in {OBJECT}; install a newer dwarves.")
        fields.update({f"kcov_{name}": Field(start + field.offset, field.size) for name, field in inner.items()})
    return Task(int(size[1]), fields, (after or int(size[1])) - first)
