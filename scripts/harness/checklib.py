# SPDX-License-Identifier: GPL-2.0
"""
The library of the checks of `make test`: results, and built kernels, which are costly and are built once for all
checks.
"""

import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from . import guest
from .hostlib import BUILD, TOP, Failure, git_environment

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
LOGS = BUILD / "log"


@dataclass(frozen=True)
class Result:
    name: str
    outcome: str
    # For a failure: the problem and where to look. For a skip: the reason.
    detail: str = ""


def passed(name: str, detail: str = "") -> Result:
    return Result(name, PASSED, detail)


def failed(name: str, detail: str) -> Result:
    return Result(name, FAILED, detail)


def skipped(name: str, reason: str) -> Result:
    return Result(name, SKIPPED, reason)


def verdict(name: str, problems: Sequence[str]) -> Result:
    """Returns one result for a list of problems."""
    return failed(name, "\n".join(problems)) if problems else passed(name)


Check = Callable[["Context"], Iterator[Result]]


@dataclass
class Context:
    """The environment of a check."""

    arch: str = "x86_64"
    impls: Tuple[str, ...] = ("rust", "c")
    # Object directories of kernels that were built before.
    objects: Dict[str, Path] = field(default_factory=dict)
    progress: Callable[[str], None] = lambda text: None
    # The parts of the check to run; empty: all.
    parts: Tuple[str, ...] = ()
    # Without what takes long.
    quick: bool = False
    _kernels: Dict[str, Path] = field(default_factory=dict)
    _broken: Dict[str, str] = field(default_factory=dict)

    @property
    def usual(self) -> bool:
        """
        Returns True if the kernels are the default kernels of `make test` and no part is left out. Other kernels may
        lack anything.
        """
        other = self.parts or self.quick or any(os.environ.get(name) for name in ("LLVM", "KERNEL", "KCOV_BINDGEN"))
        return self.arch == "x86_64" and not self.objects and not other

    def kernel(self, impl: str) -> Path:
        """Returns the object directory of an implementation's kernel. A build that failed is not tried again."""
        if impl in self.objects:
            return self.objects[impl]
        if impl in self._broken:
            raise Failure(self._broken[impl])
        if impl not in self._kernels:
            try:
                self._kernels[impl] = guest.object_directory(impl, self.arch)
            except Failure as failure:
                self._broken[impl] = f"there is no {impl} kernel to test: {failure}"
                raise
        return self._kernels[impl]

    def boot(self, boot: guest.Guest) -> guest.Outcome:
        self.progress(f"booting {boot.name}")
        return guest.boot(boot)


def each_kernel(context: Context, body: Callable[[str, Path], Iterator[Result]]) -> Iterator[Result]:
    """
    Runs body(implementation, object directory) for each kernel. A failure for one kernel does not keep the other from
    being tested.
    """
    for impl in context.impls:
        try:
            yield from body(impl, context.kernel(impl))
        except Failure as failure:
            yield failed(f"{impl}: could not go on", str(failure))


def boot_result(name: str, outcome: guest.Outcome) -> Result:
    """Returns a success if the guest ran to its end without any unexplained report of the kernel."""
    return verdict(name, outcome.problems())


def project_files() -> List[Path]:
    """Returns every file of the project relative to its top, without the products of builds."""
    listing = subprocess.run(
        ["git", "-c", f"safe.directory={TOP}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=TOP,
        env=git_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if listing.returncode == 0:
        names = [Path(os.fsdecode(name)) for name in listing.stdout.split(b"\0") if name]
    else:
        names = [path.relative_to(TOP) for path in TOP.rglob("*")]
    products = {"build", "target", "__pycache__", ".git"}
    own = {name for name in names if not products & set(name.parts) and BUILD not in (TOP / name).parents}
    return sorted(name for name in own if (TOP / name).is_file())


def run_tool(
    command: Sequence[object], timeout: Optional[float], cwd: Path = TOP, env: Optional[Dict[str, str]] = None
) -> Tuple[Optional[int], str]:
    """
    Runs a tool; returns its status and all that it printed. A tool that exceeds the timeout is killed with every
    process that it has started, such as a guest or a test, because these would go on without it. The status is None
    then.
    """
    with subprocess.Popen(
        [str(word) for word in command],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=timeout)
            status: Optional[int] = process.returncode
        except BaseException as reason:
            os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(reason, subprocess.TimeoutExpired):
                raise
            output, status = reason.output or b"", None
    return status, output.decode(errors="replace")


def output_of(
    command: Sequence[object], timeout: Optional[float] = 600, env: Optional[Dict[str, str]] = None
) -> Tuple[int, str]:
    """Runs a short tool at the top of the project; returns its status and all that it printed."""
    status, output = run_tool(command, timeout, env=env)
    if status is None:
        raise Failure(f"`{' '.join(map(str, command[:3]))}` took more than {timeout:.0f} seconds: {output[-2000:]}")
    return status, output
