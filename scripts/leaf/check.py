# SPDX-License-Identifier: GPL-2.0
"""The whole check of one kernel: finds the implementation's object, then proves each hook and each section."""

import os

from . import Misuse
from .helpers import crates_without_helpers, scan_crate
from .image import Image
from .merge import check_merge
from .order import Order
from .publish import check_sections
from .walk import HOOK_PC, HOOKS, HOOKS_CMP, Violation, Walk, scan_object

DEFAULT_OBJECTS = {"c": "kernel/kcov.o", "rust": "kernel/kcov/kcov.o"}


def open_image(vmlinux, objects, impl, objdump):
    """Opens the kernel and finds the implementation's object in it."""
    if objects:
        return Image(vmlinux, objects, objdump)
    beside = os.path.dirname(os.path.abspath(vmlinux))
    names = [DEFAULT_OBJECTS[impl]] if impl else list(DEFAULT_OBJECTS.values())
    paths = [os.path.join(beside, name) for name in names]
    present = [path for path in paths if os.path.exists(path)]
    if not present and os.path.exists(vmlinux):
        raise Misuse(f"there is no {' or '.join(paths)}; name the KCOV object with --object.")
    images, errors = [], []
    for path in present or paths:
        try:
            images.append(Image(vmlinux, [path], objdump))
        except Misuse as error:
            # If both objects are present, one is left from an earlier configuration of the same build.
            errors.append(error)
    if len(images) > 1:
        raise Misuse(f"both {' and '.join(present)} fit {vmlinux}; choose one with --impl or --object.")
    if not images:
        raise errors[0]
    return images[0]


def check(image):
    """Checks every hook and every section; returns (one dictionary per hook, one per section, violations)."""
    entries = {}
    for hook in HOOKS:
        addr = image.elf.value(hook)
        if addr is not None:
            entries[hook] = addr
    missing = [hook for hook in HOOKS_CMP if hook not in entries]
    violations, hooks = [], []
    if HOOK_PC not in entries or len(missing) not in (0, len(HOOKS_CMP)):
        absent = HOOK_PC if HOOK_PC not in entries else missing[0]
        raise Misuse(f"{image.elf.path} has no {absent}; build the kernel with CONFIG_KCOV=y.")
    for hook, entry in entries.items():
        if not image.owns(entry):
            violations.append(Violation(hook, f"is not in {' or '.join(image.objects)}", entry,
                                        image.elf.show(entry), "", [hook]))
            continue
        walk = Walk(image, hook, entry, set(entries.values()))
        violations += walk.violations
        order = "not checked"
        if image.arch.has_store_order and not walk.violations:
            found = Order(walk).violations
            violations += found
            order = "wrong" if found else "count first"
        hooks.append({"hook": hook, "instructions": len(walk.successors), "bytes": walk.size,
                      "functions": walk.functions, "order": order})
    crates = crates_without_helpers(image)
    for crate in crates:
        violations += scan_crate(image, crate)
    violations += scan_object(image, set(entries.values()), calls=not crates)
    sections, found = check_sections(image)
    merges, late = check_merge(image)
    return hooks, sections + merges, violations + found + late
