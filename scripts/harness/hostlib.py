# SPDX-License-Identifier: GPL-2.0
"""
The library of all Python scripts of this project: paths, messages to the person who started a script, and long steps,
which write their output to a log and show a progress line instead.
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
    """One clear sentence for the person at the terminal: the problem and its remedy."""


def say(text: str = "") -> None:
    print(text, flush=True)


def step(text: str) -> None:
    say(f"==> {text}")


def warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr, flush=True)


def die(text: str) -> NoReturn:
    """Ends the script with one sentence, which main() below prints."""
    raise Failure(text)


def main(run: Callable[[List[str]], Optional[int]]) -> None:
    """Runs a script: run(arguments) returns the exit status; a Failure becomes one line and status 1."""
    # `script | head` ends quietly when the reader has seen enough.
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
    """
    Returns the value of an environment variable, which must be one of KNOWN. It is checked here, because argparse does
    not check defaults.
    """
    value = os.environ.get(variable) or default
    if value not in known:
        die(f"{variable}={value} is not known here; it can be one of: {' '.join(known)}.")
    return value


def need_space(place: Path, mebibytes: int, purpose: str) -> None:
    """Refuses to start a step that would fill the disk before it is complete."""
    place.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(place).free >> 20
    if free < mebibytes:
        die(
            f"{purpose} needs {mebibytes} MiB in {place}, but only {free} MiB are free; "
            "free some there, or name another place (BUILD=, O=, KCOV_CACHE=)."
        )


def shown(path: Path) -> str:
    """Returns a path as the person may type it: relative if that is shorter."""
    absolute = os.path.abspath(path)
    relative = os.path.relpath(absolute)
    return relative if len(relative) < len(absolute) else absolute


def duration(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """
    Yields a temporary name for a file that becomes TARGET when it is complete, because another run may read TARGET
    until then.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial{os.getpid()}")
    try:
        yield partial
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def write_if_changed(path: Path, data: bytes) -> bool:
    """Writes through a temporary name. Does not write if nothing changes, so that make sees no new file."""
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


# The lines of a document before and after its results.
RESULTS_BEGIN, RESULTS_END = "<!-- results: begin -->", "<!-- results: end -->"


def _around_results(path: Path) -> Tuple[str, str, str]:
    """Returns the text of a document before, between and after the marks."""
    before, first, rest = path.read_text(encoding="utf-8").partition(f"{RESULTS_BEGIN}\n")
    inside, second, after = rest.partition(f"{RESULTS_END}\n")
    if not first or not second:
        die(f"{shown(path)} has no lines '{RESULTS_BEGIN}' and '{RESULTS_END}', between which the results go; add them.")
    return before, inside, after


def results_in(path: Path) -> str:
    """Returns the results in a document."""
    return _around_results(path)[1]


def write_results(path: Path, text: str) -> None:
    """Replaces the results in a document."""
    before, _, after = _around_results(path)
    path.write_text(f"{before}{RESULTS_BEGIN}\n\n{text}\n\n{RESULTS_END}\n{after}", encoding="utf-8")


def text_of(path: Path) -> Optional[str]:
    """Returns the text of a file, or None if it does not exist."""
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else None


def first_line(path: Path) -> Optional[str]:
    """Returns the first line of a small file, such as setup.sh writes to the cache, or None."""
    try:
        return path.read_text().splitlines()[0].strip()
    except (FileNotFoundError, IndexError):
        return None


class Progress:
    """
    Shows `==> TITLE: STATE`, rewritten in place on a terminal; in a log as a plain line every INTERVAL seconds.
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
        """Shows the same state again with the elapsed time."""
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
    Runs a command with its output in LOG, and shows a progress line.

    state(line) is called with every line of output and returns the text of the progress line. If the command fails, the
    end of the log is shown, or the part that excerpt(lines) selects, and with check a Failure is raised. Otherwise the
    status is returned. env is the whole environment of the command.
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
        process.stdout.close()
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
    """Yields the lines from PIPE. Calls idle() after each second without a line, so that the shown time advances."""
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
    """Lets one process at a time work on WHAT; a second one prints that it waits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            step(f"Waiting for another process that works on {what}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def setup(*parts: str) -> None:
    """Runs setup.sh for PARTS (base, linux, lint, ...). Parts that are already installed take a moment."""
    if subprocess.call([str(SCRIPTS / "setup.sh"), *parts], stdin=None) != 0:
        die(f"the set-up ({' '.join(parts) or 'base linux'}) did not complete; see the message above.")


# Variables that change builds of the kernel and of programs. A build gets them only on purpose.
BUILD_VARIABLES = (
    "ARCH SUBARCH LLVM LLVM_IAS CC HOSTCC LD CROSS_COMPILE O J V KERNEL IMPL MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES "
    "GNUMAKEFLAGS KCONFIG_ALLCONFIG KCONFIG_CONFIG KBUILD_OUTPUT BUILD CLIPPY FORCE"
).split()


def build_environment() -> Dict[str, str]:
    """Returns an environment in which only the command line controls a build."""
    return {name: value for name, value in os.environ.items() if name not in BUILD_VARIABLES}


# With these variables git ties its hooks, and all programs that they start, to one repository. The working directory then
# has no effect.
GIT_TIES = (
    "GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_PREFIX GIT_COMMON_DIR GIT_NAMESPACE GIT_OBJECT_DIRECTORY "
    "GIT_ALTERNATE_OBJECT_DIRECTORIES"
).split()


def git_environment() -> Dict[str, str]:
    """Returns an environment in which git uses the repository of the working directory."""
    return {name: value for name, value in os.environ.items() if name not in GIT_TIES}


def git_output(*arguments: str, cwd: Path) -> Optional[str]:
    """Returns git's output for the repository in CWD, as command_output() does."""
    return command_output("git", *arguments, cwd=cwd, env=git_environment())


def command_output(*command: str, cwd: Optional[Path] = None, env: Optional[Dict[str, str]] = None) -> Optional[str]:
    """Returns the output of a short command, stripped, or None if the command fails or does not exist."""
    try:
        result = subprocess.run(
            command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    return result.stdout.decode(errors="replace").strip() if result.returncode == 0 else None
