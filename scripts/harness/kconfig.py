# SPDX-License-Identifier: GPL-2.0
"""Reads kernel configuration fragments, merges them, and checks whether the configuration took them."""

import re
from pathlib import Path
from typing import Dict, Iterable, List, Tuple

from .hostlib import CONFIG_DIR, die, shown

SET = re.compile(r"(CONFIG_\w+)=(.*)")
# Options without a prompt in older kernels, each with the option that selects it there.
SELECTED = {"CONFIG_SYSCTL": "CONFIG_PROC_SYSCTL"}
UNSET = re.compile(r"# (CONFIG_\w+) is not set")


def parse(text: str, name: str = "") -> Dict[str, str]:
    """Returns the options of a fragment or of a .config; an option that is not set has the value n."""
    options: Dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        match, unset = SET.fullmatch(line), UNSET.fullmatch(line)
        if match:
            options[match[1]] = match[2]
        elif unset:
            options[unset[1]] = "n"
        elif line and not line.startswith("#") and name:
            die(
                f"line {number} of {name} is not a configuration option: '{line}'; "
                "write CONFIG_X=value or # CONFIG_X is not set."
            )
    return options


def of_objects(objects: Path) -> Dict[str, str]:
    """Returns the options of the kernel that is configured in this directory."""
    return parse((objects / ".config").read_text(encoding="utf-8"))


def fragment(name: str) -> Path:
    """Returns the file of a fragment; NAME is one of ours, or a path."""
    ours = CONFIG_DIR / f"{name}.config"
    if ours.exists():
        return ours
    if Path(name).is_file():
        return Path(name)
    known = sorted(path.stem for path in CONFIG_DIR.glob("*.config"))
    die(f"there is no configuration fragment '{name}'; name a file, or one of: {' '.join(known)}.")


def merged(names: Iterable[str], extra: Dict[str, str]) -> Dict[str, str]:
    """Merges fragments in order; the last value of an option counts."""
    options: Dict[str, str] = {}
    for name in names:
        path = fragment(name)
        options.update(parse(path.read_text(), shown(path)))
    return {**options, **extra}


def request(options: Dict[str, str]) -> Dict[str, str]:
    """Returns the options with those that select one of them in older kernels; Kconfig ignores an option that is missing."""
    return {**options, **{other: options[name] for name, other in SELECTED.items() if name in options}}


def text_of(options: Dict[str, str]) -> str:
    return "".join(f"# {name} is not set\n" if value == "n" else f"{name}={value}\n" for name, value in options.items())


def not_taken(wanted: Dict[str, str], config: Dict[str, str]) -> List[Tuple[str, str, str]]:
    """Returns the options that did not get their value: name, wanted, got."""
    return [(name, value, config.get(name, "n")) for name, value in wanted.items() if config.get(name, "n") != value]
