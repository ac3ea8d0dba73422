# SPDX-License-Identifier: GPL-2.0
"""
Objects into which the kernel's build has inlined C helpers (RUST_INLINE_HELPERS). The helpers are instrumented, like
all C, and so is the object at the places where it calls them. That the crate itself is not instrumented can be checked
only before the helpers are linked to it.
"""

import os
import re
import shutil
import subprocess

from . import Misuse
from .walk import INSTRUMENTATION, Violation

_FUNCTION = re.compile(r"define .*?@\"?([^\s\"(]+)\"?\(")
_CALL = re.compile(r"\s.*\b(?:call|invoke|callbr)\s.*?@\"?([^\s\"(]+)\"?\(")


def instrumented_calls(text):
    """Yields (function, callee, line) for each call in LLVM's text form that a compiler has inserted."""
    found, function = [], ""
    for line in text.splitlines():
        start = _FUNCTION.match(line)
        if start:
            function = start[1]
        call = _CALL.match(line)
        if call and INSTRUMENTATION.match(call[1]):
            found.append((function, call[1], line.strip()))
    return found


def crates_without_helpers(image):
    """Returns the bitcode of the objects before helpers were linked to it, if they were."""
    beside = os.path.dirname(os.path.abspath(image.elf.path))
    try:
        with open(os.path.join(beside, ".config"), encoding="utf-8") as file:
            inlined = "CONFIG_RUST_INLINE_HELPERS=y\n" in file
    except FileNotFoundError:
        inlined = False
    paths = [os.path.splitext(path)[0] + ".bc" for path in image.objects] if inlined else []
    return [path for path in paths if os.path.exists(path)]


def scan_crate(image, path):
    """Returns the violations in a crate before helpers are linked to it. It must not be instrumented."""
    folder, name = os.path.split(shutil.which(image.objdump) or image.objdump)
    command = [os.path.join(folder, name.replace("objdump", "dis")), "-o", "-", path]
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as problem:
        raise Misuse(f"{command[0]} cannot be run ({problem.strerror}); name LLVM's disassembler with --objdump.") from None
    if run.returncode or "define " not in run.stdout:
        raise Misuse(f"{command[0]} shows no code in {path}: {run.stderr.strip()[:200]}")
    return [Violation("the whole object", f"is instrumented: it calls {callee}", 0, f"{function} in {path}", line, [])
            for function, callee, line in instrumented_calls(run.stdout)]
