# SPDX-License-Identifier: GPL-2.0
"""
What the Python scripts of this project share: where things are, how they speak to the person who started them,
and long steps that keep their output in a log and show a progress line instead.
"""

import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Callable, Dict, Iterable, Iterator, List, NoReturn, Optional, Sequence, Tuple

TOP = Path(__file__).resolve().parents[2]
SCRIPTS = TOP / "scripts"
HARNESS = SCRIPTS / "harness"
CONFIG_DIR = SCRIPTS / "config"
BUILD = Path(os.environ.get("BUILD") or TOP / "build").absolute()
CACHE = Path(
    os.environ.get("KCOV_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kcov-linux"
).absolute()


class Failure(Exception):
    """One clear sentence for the person at the terminal: what is wrong and what to do about it."""


def say(text: str = "") -> None:
    print(text, flush=True)


def step(text: str) -> None:
    say(f"==> {text}")


def warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr, flush=True)


def die(text: str) -> NoReturn:
    """Ends the script with one sentence; main() below prints it."""
    raise Failure(text)


def main(run: Callable[[List[str]], Optional[int]]) -> None:
    """The frame of every script: run(arguments) gives the exit status, a Failure becomes one line and status 1."""
    # `script | head` shall end quietly when the reader has seen enough.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        status = run(sys.argv[1:])
    except Failure as failure:
        sys.stdout.flush()
        print(f"error: {failure}", file=sys.stderr)
        status = 1
    except OSError as problem:
        if problem.filename is None:
            raise
        print(f"error: {problem.filename}: {problem.strerror}.", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        status = 130
    sys.exit(status or 0)


def chosen(variable: str, known: Iterable[str], default: str) -> str:
    """The value of a variable of the environment that can only be one of those; argparse checks no defaults."""
    value = os.environ.get(variable) or default
    if value not in known:
        die(f"{variable}={value} is not known here; it can be one of: {' '.join(known)}.")
    return value


def need_space(place: Path, mebibytes: int, purpose: str) -> None:
    """Refuses to start what would fill the disk half-way."""
    place.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(place).free >> 20
    if free < mebibytes:
        die(
            f"{purpose} needs {mebibytes} MiB in {place}, but only {free} MiB are free; "
            "make room there or name another place (BUILD=, O=, KCOV_CACHE=)."
        )


def shown(path: Path) -> str:
    """A path as the person may type it: relative when that is shorter."""
    absolute = os.path.abspath(path)
    relative = os.path.relpath(absolute)
    return relative if len(relative) < len(absolute) else absolute


def duration(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary name for what becomes TARGET once it is complete: another run may read that meanwhile."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial{os.getpid()}")
    try:
        yield partial
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def write_if_changed(path: Path, data: bytes) -> bool:
    """Writes through a temporary name, and not at all when nothing changes, so that make sees no new file."""
    try:
        if path.read_bytes() == data:
            return False
    except FileNotFoundError:
        pass
    with replacing(path) as partial:
        partial.write_bytes(data)
        if path.exists():
            shutil.copymode(path, partial)
    return True


# Lines of a document that results stand between.
RESULTS_BEGIN, RESULTS_END = "<!-- results: begin -->", "<!-- results: end -->"


def _around_results(path: Path) -> Tuple[str, str, str]:
    """What a document has before, between and after the marks."""
    before, first, rest = path.read_text(encoding="utf-8").partition(f"{RESULTS_BEGIN}\n")
    inside, second, after = rest.partition(f"{RESULTS_END}\n")
    if not first or not second:
        die(f"{shown(path)} has no lines '{RESULTS_BEGIN}' and '{RESULTS_END}' for the results to go between.")
    return before, inside, after


def results_in(path: Path) -> str:
    """The results that a document has."""
    return _around_results(path)[1]


def write_results(path: Path, text: str) -> None:
    """Puts results into a document, in place of those that are there."""
    before, _, after = _around_results(path)
    path.write_text(f"{before}{RESULTS_BEGIN}\n\n{text}\n\n{RESULTS_END}\n{after}", encoding="utf-8")


def text_of(path: Path) -> Optional[str]:
    """The text in a file, or None if there is no such file."""
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else None


def first_line(path: Path) -> Optional[str]:
    """The first line of a small file such as those which setup.sh leaves in the cache, or None."""
    try:
        return path.read_text().splitlines()[0].strip()
    except (FileNotFoundError, IndexError):
        return None


class Progress:
    """
    `==> TITLE: STATE`, rewritten in place on a terminal; in a log a plain line every INTERVAL seconds.
    """

    INTERVAL = 30

    def __init__(self, title: str):
        self.title, self.state = title, ""
        self.started = time.monotonic()
        self.printed = self.started
        self.live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        if not self.live:
            step(title)

    def elapsed(self) -> float:
        return time.monotonic() - self.started

    def show(self, state: str) -> None:
        self.state = state
        self.again()

    def again(self) -> None:
        """Shows the same state with the time that it is now."""
        state, now = self.state, time.monotonic()
        text = f"==> {self.title}: {state}{', ' if state else ''}{duration(self.elapsed())}"
        if self.live:
            if now - self.printed >= 0.2 or self.printed == self.started:
                columns = shutil.get_terminal_size().columns
                sys.stdout.write("\r\033[K" + text[: columns - 1])
                sys.stdout.flush()
                self.printed = now
        elif now - self.printed >= self.INTERVAL:
            say(text)
            self.printed = now

    def end(self, state: str) -> None:
        if self.live:
            sys.stdout.write("\r\033[K")
        say(f"==> {self.title}: {state}, {duration(self.elapsed())}")


def run_logged(
    log: Path,
    title: str,
    command: Sequence[str],
    *,
    env: Optional[Dict[str, str]] = None,
    cwd: Optional[Path] = None,
    state: Optional[Callable[[str], str]] = None,
    done: str = "done",
    excerpt: Optional[Callable[[List[str]], List[str]]] = None,
    append: bool = False,
    check: bool = True,
) -> int:
    """
    Runs a command whose output goes to LOG while a progress line is shown.

    state(line) is called with every line of output and gives what the progress line says about it.
    On failure the end of the log is shown, or what excerpt(lines) chooses of it, and with check a Failure is
    raised; otherwise the status is returned. env is the whole environment of the command.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    progress = Progress(title)
    with open(log, "ab" if append else "wb") as output:
        begin = output.tell()
        try:
            process = subprocess.Popen(
                list(map(str, command)),
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except FileNotFoundError:
            die(f"the program {command[0]} was not found; install it, or run `make setup`.")
        assert process.stdout is not None
        try:
            for line in _lines(process.stdout, progress.again):
                output.write(line)
                if state:
                    progress.state = state(line.decode(errors="replace").rstrip("\n"))
                progress.again()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        status = process.wait()
    if status == 0:
        progress.end(done)
        return 0
    progress.end("failed")
    with open(log, "rb") as finished:
        finished.seek(begin)
        lines = finished.read().decode(errors="replace").splitlines()
    for said in excerpt(lines) if excerpt else lines[-25:]:
        print(f"    {said}", file=sys.stderr)
    sys.stderr.flush()
    if check:
        die(f"{title} failed (status {status}); the whole log is in {shown(log)}")
    return status


def _lines(pipe: IO[bytes], idle: Callable[[], None]) -> Iterator[bytes]:
    """The lines that come out of PIPE; idle() is called when a second brings none, so that the time moves on."""
    rest = b""
    while True:
        if not select.select([pipe], [], [], 1)[0]:
            idle()
            continue
        data = os.read(pipe.fileno(), 1 << 16)
        if not data:
            break
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Lets one process at a time work on WHAT; a second one says that it waits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            step(f"Waiting for another process that works on {what}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def setup(*parts: str) -> None:
    """Has setup.sh look after PARTS (base, linux, lint, ...); what is there already takes a moment."""
    if subprocess.call([str(SCRIPTS / "setup.sh"), *parts], stdin=None) != 0:
        die(f"the set-up ({' '.join(parts) or 'base linux'}) did not complete; see the message above.")


# Variables that mean something to builds of the kernel and of programs, and are given to them only on purpose.
BUILD_VARIABLES = (
    "ARCH SUBARCH LLVM LLVM_IAS CC HOSTCC LD CROSS_COMPILE O J V KERNEL IMPL MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES "
    "GNUMAKEFLAGS KCONFIG_ALLCONFIG KCONFIG_CONFIG KBUILD_OUTPUT BUILD CLIPPY FORCE"
).split()


def build_environment() -> Dict[str, str]:
    """The environment in which a build goes by its command line."""
    return {name: value for name, value in os.environ.items() if name not in BUILD_VARIABLES}


# By these git ties its hooks, and all that they start, to one repository; the working directory counts no more then.
GIT_TIES = (
    "GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_PREFIX GIT_COMMON_DIR GIT_NAMESPACE GIT_OBJECT_DIRECTORY "
    "GIT_ALTERNATE_OBJECT_DIRECTORIES"
).split()


def git_environment() -> Dict[str, str]:
    """The environment in which git goes by the working directory."""
    return {name: value for name, value in os.environ.items() if name not in GIT_TIES}


def git_output(*arguments: str, cwd: Path) -> Optional[str]:
    """What git says about the repository in CWD, as command_output() gives it."""
    return command_output("git", *arguments, cwd=cwd, env=git_environment())


def command_output(*command: str, cwd: Optional[Path] = None, env: Optional[Dict[str, str]] = None) -> Optional[str]:
    """What a short command prints, stripped, or None when it fails or does not exist."""
    try:
        result = subprocess.run(
            command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    return result.stdout.decode(errors="replace").strip() if result.returncode == 0 else None
