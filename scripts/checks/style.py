# SPDX-License-Identifier: GPL-2.0
"""
The style of every file: shellcheck, ruff, mypy, rustfmt, checkpatch, licence lines, no paths of one machine.
"""

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Iterator, List, Sequence

from harness import allowances, checklib, kernel
from harness.checklib import Context, Result, failed, output_of, passed, verdict
from harness.hostlib import BUILD, CACHE, SCRIPTS, TOP

ORDER = 12
QUICK = True

# The kernel tree with the tools to use, which is the tree of the builds.
TREES = (BUILD / "linux",)
# The directories that become part of a kernel tree.
OVERLAY = ("Documentation", "Kconfig", "include", "kcov", "rust", "samples", "tools")

SHELL = re.compile(rb"#!/(?:usr/)?bin/(?:env )?(?:bash|dash|sh|busybox sh)\b|# SPDX[^\n]*\n# shellcheck shell=")
SPDX = re.compile(rb"SPDX-License-Identifier: \S+")
# Paths that exist on one machine only.
MACHINE = re.compile(
    rb"(?<![\w.])/(?:work/|root/(?!\.))\w|https?://(?:[\w.-]*(?:mirror|proxy|registry)[\w.-]*|localhost|\d+\.\d)"
)
# Files whose format has no comments for a licence line.
NO_LICENCE = re.compile(r"(?:^|/)(?:\.gitignore|\.gitattributes|LICENSE.*|COPYING|Cargo\.lock)$|\.(?:png|svg|json|patch)$")


# The tools that check Python.
PYTHON_TOOLS = CACHE / "lint/bin"
# The command that installs these tools and shellcheck.
LINT = "run `scripts/setup.sh lint`."

# A separate program, not a part of the kernel.
NOT_KERNEL_STYLE = "tools/kcov/"


def tree() -> Path:
    """Returns the tree with the tools to use. A fresh clone has no tree yet."""
    return next((path for path in TREES if (path / "scripts/checkpatch.pl").exists()), None) or kernel.prepare_tree()


def tool_result(name: str, tool: str, command: Sequence[object], files: Sequence[Path], remedy: str) -> Result:
    """Returns one result for a tool that checks files and prints its complaints."""
    if not shutil.which(tool):
        return failed(name, f"{tool} was not found; {remedy}")
    if not files:
        return failed(name, "no file to check was found")
    status, output = output_of([*command, *files])
    said = "\n".join(dict.fromkeys(output.strip().splitlines()))
    return failed(name, said[:4000] or f"status {status}") if status else passed(name, f"{len(files)} files")


def checkpatch(files: Sequence[Path]) -> Result:
    name, script = "checkpatch", tree() / "scripts/checkpatch.pl"
    if not script.exists():
        return failed(name, f"there is no {script}; run `scripts/kernel.py tree`.")
    if not files:
        return failed(name, "no file to check was found")
    options = ["--no-tree", "--terse", "--show-types", "--quiet", "--no-summary", "--file"]
    # It takes the most time of all, on one processor.
    count = os.cpu_count() or 1
    parts = [files[start::count] for start in range(min(count, len(files)))]
    with ThreadPoolExecutor(count) as pool:
        outcomes = list(pool.map(lambda part: output_of(["perl", script, *options, *part]), parts))
    status = max(status for status, _ in outcomes)
    messages = [line for _, output in outcomes for line in output.splitlines() if line.strip()]
    problems = [message for message in messages if not allowances.find(message, TOP)]
    if status and not messages:
        problems.append(f"it ended with status {status} and printed nothing")
    return verdict(name, problems)


def rustfmt(files: Sequence[Path]) -> Iterator[Result]:
    """Checks kernel code with the kernel's settings, and crates that cargo builds with their own settings."""
    manifests = [path for path in checklib.project_files() if path.name == "Cargo.toml"]
    crates = sorted((manifest.parent for manifest in manifests), key=lambda path: len(path.parts))
    outer = [crate for index, crate in enumerate(crates) if not any(other in crate.parents for other in crates[:index])]
    kernel_files = [path for path in files if not any(crate in path.parents for crate in outer)]
    config = tree() / ".rustfmt.toml"
    if not config.exists():
        yield failed("rustfmt", f"there is no {config}; run `scripts/kernel.py tree`.")
        return
    remedy = "run `rustup component add rustfmt`."
    command = ["rustfmt", "--check", "-l", "--color", "never", "--edition", "2021", "--config-path", config]
    yield tool_result("rustfmt", "rustfmt", command, kernel_files, remedy)
    for crate in outer:
        command = ["cargo", "fmt", "--all", "--manifest-path", crate / "Cargo.toml", "--", "--check", "-l", "--color", "never"]
        status, output = output_of(command)
        name = f"rustfmt of {crate}"
        yield failed(name, output.strip()[:4000] or remedy) if status else passed(name)


def python(files: Sequence[Path]) -> Iterator[Result]:
    ruff, mypy = PYTHON_TOOLS / "ruff", PYTHON_TOOLS / "mypy"
    # ruff finds its configuration by itself. If it were given the file, it would read the paths in it as paths from the
    # top.
    yield tool_result("ruff", str(ruff), [ruff, "check", "--quiet", "--no-cache", "--output-format=concise"], files, LINT)
    command = [mypy, "--no-error-summary", "--cache-dir", BUILD / "mypy", "--config-file", SCRIPTS / "pyproject.toml"]
    yield tool_result("mypy", str(mypy), command, files, LINT)


def names_place_below(directory: Path, line: bytes) -> bool:
    """
    Returns True if a line has the path of something below DIRECTORY. The directory's own name does not suffice: it may
    be as short as /build, which also begins examples, and is a part of other paths.
    """
    path = rb"(?<![\w.)}\]~*])" + re.escape(os.fsencode(directory)) + rb"/(\.?\w[\w.+-]*)"
    return any((directory / os.fsdecode(name.rstrip(b"."))).exists() for name in re.findall(path, line))


def hygiene(files: Sequence[Path]) -> Iterator[Result]:
    here = [place for place in (TOP, Path.home()) if place != place.parent]
    without: List[str] = []
    machine: List[str] = []
    for path in files:
        data = (TOP / path).read_bytes()
        if not NO_LICENCE.search(str(path)) and not SPDX.search(data[:400]):
            without.append(f"{path}: no SPDX-License-Identifier in its first lines")
        for number, line in enumerate(data.splitlines(), 1):
            if MACHINE.search(line) or any(names_place_below(place, line) for place in here):
                machine.append(f"{path}:{number}: has a path of one machine: {line.strip()[:100].decode(errors='replace')}")
    # The patterns above are in this file.
    own = f"scripts/checks/{Path(__file__).name}:"
    yield verdict("licence lines", without)
    yield verdict("nothing of one machine", [line for line in machine if not line.startswith(own)])


def run(context: Context) -> Iterator[Result]:
    files = checklib.project_files()
    yield from hygiene(files)
    context.progress("shellcheck")
    shell = [path for path in files if path.suffix == ".sh" or SHELL.match((TOP / path).read_bytes()[:120])]
    command = ["shellcheck", "--format=gcc"]
    yield tool_result("shellcheck", "shellcheck", command, shell, LINT)
    context.progress("ruff and mypy")
    yield from python([path for path in files if path.suffix == ".py"])
    context.progress("rustfmt")
    yield from rustfmt([path for path in files if path.suffix == ".rs"])
    context.progress("checkpatch")
    names = ("Makefile", "Kconfig")
    yield checkpatch(
        [
            path
            for path in files
            if path.parts[0] in OVERLAY
            and not str(path).startswith(NOT_KERNEL_STYLE)
            and (path.suffix in (".c", ".h", ".S") or path.name in names)
        ]
    )
