# SPDX-License-Identifier: GPL-2.0
"""
The kernels build, the compiler has instrumented them, and neither a compiler nor clippy warns about the overlay's files.
"""

from pathlib import Path
from typing import Iterator, List

from harness import buildlog, kconfig, kernel
from harness.checklib import Context, Result, each_kernel, failed, passed, verdict
from harness.hostlib import Failure, shown
from harness.patches import repository_files

ORDER = 30

# An object of every kernel that CONFIG_KCOV_INSTRUMENT_ALL instruments, and the name that its calls refer to.
INSTRUMENTED = "fs/read_write.o"
HOOK = b"__sanitizer_cov_trace_pc"


def warnings_of(obj: Path) -> List[str]:
    """Returns the warnings about our files in the present objects, including warnings of earlier, partial builds."""
    found = []
    kept = obj / ".kcov-warnings"
    if kept.exists():
        found.append(kept.read_text(errors="replace").strip())
    log = obj / "build.log"
    if not log.exists():
        raise Failure(f"{shown(log)} does not exist, so the build's warnings are unknown; build with scripts/kernel.py.")
    for block in buildlog.warnings(log.read_text(errors="replace").splitlines(), repository_files()):
        if block not in "\n".join(found):
            found.append(block)
    return found


def missing_calls(obj: Path) -> List[str]:
    """Returns a problem if the compiler has added no calls: a kernel builds and boots without any, and records nothing."""
    if kconfig.of_objects(obj).get("CONFIG_KCOV_INSTRUMENT_ALL") != "y":
        return []
    if HOOK in (obj / INSTRUMENTED).read_bytes():
        return []
    return [f"{shown(obj / INSTRUMENTED)} has no call of {HOOK.decode()}; CFLAGS_KCOV may be empty (scripts/Makefile.kcov)."]


def clippy(context: Context) -> Result:
    """
    Checks the crate, and the `kernel` crate with it, with clippy in a directory of objects of its own. In the same
    directory, the kernel's build would compile all Rust code again after each change between rustc and clippy.
    """
    name = "clippy"
    context.progress(name)
    crate = "kernel/kcov/kcov.o"
    obj = kernel.build(kernel.Kernel(impl="rust", arch=context.arch, variant="clippy"), ["CLIPPY=1", crate])
    command = obj / "kernel/kcov/.kcov.o.cmd"
    if not (obj / crate).exists() or "clippy-driver" not in command.read_text(errors="replace"):
        return failed(name, f"the crate was not compiled by clippy; see {shown(obj / 'build.log')}.")
    return verdict(name, warnings_of(obj))


def run(context: Context) -> Iterator[Result]:
    def one(impl: str, obj: Path) -> Iterator[Result]:
        yield passed(f"{impl}: the kernel builds", shown(obj))
        yield verdict(f"{impl}: the compiler has added calls of the hooks", missing_calls(obj))
        yield verdict(f"{impl}: no warning about the overlay's files", warnings_of(obj))
        if impl == "rust":
            yield clippy(context)

    yield from each_kernel(context, one)
