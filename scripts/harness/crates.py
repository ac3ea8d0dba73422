# SPDX-License-Identifier: GPL-2.0
"""
Runs cargo on the crates for user space (tools/kcov), and builds the programs for guests: static ones, since the
initramfs has no libraries.

The cache of the user keeps the programs, so that a clone whose sources are known compiles none of them.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Dict, List, Mapping, Optional

from . import programs
from .arch import ARCHITECTURES
from .hostlib import BUILD, CACHE, TOP, build_environment, command_output, die, replacing, run_logged, shown
from .patches import walk

WORKSPACE = TOP / "tools/kcov"
TARGET_DIR = BUILD / "cargo"
LOGS = BUILD / "log"
KEPT = CACHE / "programs"
# So many programs are kept.
MOST_KEPT = 12
# Variables that cargo, rustc, build scripts and the linker read.
READ = re.compile(
    r"(CARGO|RUST|CC|CXX|AR|LD|C_INCLUDE|CPATH|LIBRARY|GCC|COMPILER)_.*|(C|CPP|CXX|LD|RUST)FLAGS|RUSTC|CC|CPATH"
)
STATIC = "-C target-feature=+crt-static"


def environment(**more: str) -> Dict[str, str]:
    return {**build_environment(), "CARGO_TARGET_DIR": str(TARGET_DIR), "CARGO_TERM_COLOR": "never", **more}


def static_environment() -> Dict[str, str]:
    return environment(RUSTFLAGS=STATIC)


def target_of(arch: str) -> str:
    """Returns Rust's name of the target of an architecture whose guests run programs of the host; only these are supported."""
    if not ARCHITECTURES[arch].runs_host_programs:
        die(f"the crates are built for guests that run programs of the host, not for {arch}.")
    return ARCHITECTURES[arch].rust_target


def sources(name: str) -> List[Path]:
    """Returns the files of the workspace that a program of its crate NAME may be made from."""
    # The members need all manifests. The other crates are not dependencies of programs.
    manifests = list(WORKSPACE.glob("*/Cargo.toml"))
    files = [path for path in WORKSPACE.iterdir() if path.is_file()] + manifests
    for manifest in manifests:
        if any(f'name = "{crate}"\n' in manifest.read_text(encoding="utf-8") for crate in ("kcov", name)):
            files += walk(manifest.parent)
    return sorted(set(files))


def settings(env: Mapping[str, str]) -> List[Path]:
    """Returns the files with settings that cargo reads."""
    places = [folder / ".cargo" for folder in (WORKSPACE, *WORKSPACE.parents)]
    places.append(Path(env.get("CARGO_HOME") or Path.home() / ".cargo"))
    return [path for place in places for path in (place / "config", place / "config.toml") if path.is_file()]


def label_of(name: str, command: List[str], env: Mapping[str, str]) -> str:
    """Returns a label that changes with everything that a program is made from."""
    tools = (("rustc", "-vV"), ("cargo", "-vV"), ("cc", "--version"), ("ld", "--version"))
    parts = [*command, *(command_output(*tool, env=dict(env)) or "" for tool in tools)]
    parts += [f"{key}={value}" for key, value in sorted(env.items()) if READ.fullmatch(key) and key != "CARGO_TARGET_DIR"]
    library = Path(command_output("cc", "-print-file-name=libc.a") or "")
    for path in [*settings(env), *sources(name), *([library] if library.is_absolute() else [])]:
        place = path.relative_to(WORKSPACE) if WORKSPACE in path.parents else path
        parts += [str(place), hashlib.sha256(path.read_bytes()).hexdigest()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def inputs(built: Path) -> Optional[List[Path]]:
    """Returns the files that cargo has compiled into a program, except those of the registry."""
    try:
        text = built.with_suffix(".d").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    words = re.split(r"(?<!\\)\s+", text.partition(": ")[2].strip())
    return [Path(word.replace("\\ ", " ")) for word in words if word]


def keep(built: Path, kept: Path, name: str) -> None:
    """Keeps a program, if it was made from known files only."""
    known, read = set(sources(name)), inputs(built)
    if read is None or not set(read) <= known:
        return
    with replacing(kept) as partial:
        shutil.copy2(built, partial)
    for old in sorted(KEPT.iterdir(), key=lambda path: path.stat().st_mtime)[:-MOST_KEPT]:
        old.unlink(missing_ok=True)


def program(name: str, arch: str) -> Path:
    """Returns a static program of the workspace, from the crate with its name. Builds it unless the cache has it."""
    target, log, env = target_of(arch), LOGS / f"cargo-{name}.log", static_environment()
    command = ["cargo", "build", "--release", "--locked", "--target", target, "-p", name]
    built = TARGET_DIR / target / "release" / name
    before = label_of(name, command, env)
    kept = KEPT / f"{name}-{before}"
    # Cargo is quick where it has built the program once.
    if not built.exists() and kept.exists():
        place = BUILD / "kept" / name
        with replacing(place) as partial:
            shutil.copy(kept, partial)
        os.utime(kept)
        return place
    run_logged(log, f"Building {name}", command, env=env, cwd=WORKSPACE)
    # A source may have been edited while cargo ran.
    if not kept.exists() and label_of(name, command, env) == before:
        keep(built, kept, name)
    return built


def kcov_trace(arch: str = "x86_64") -> Path:
    """Builds kcov-trace, which runs in the guest and on the host."""
    return program("kcov-trace", arch)


def random(arch: str = "x86_64") -> Path:
    """Builds the program that makes random calls."""
    return program("kcov-random", arch)


def device_tests(arch: str = "x86_64") -> Path:
    """Builds the tests of the crate kcov that need a KCOV device, as a static program."""
    log = LOGS / "cargo-device.log"
    command = ["cargo", "test", "--no-run", "--locked", "--target", target_of(arch), "-p", "kcov", "--test", "device"]
    # Only this output format contains the name of the program.
    command.append("--message-format=json-render-diagnostics")
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as errors:
        result = subprocess.run(
            command, cwd=WORKSPACE, env=static_environment(), stdout=subprocess.PIPE, stderr=errors, check=False
        )
    if result.returncode:
        die(f"the tests of the crate kcov could not be built; the log is {shown(log)}.")
    messages = [json.loads(line) for line in result.stdout.splitlines() if line.startswith(b"{")]
    built = [message["executable"] for message in messages if message.get("executable")]
    if len(built) != 1:
        die(f"cargo built {len(built)} programs instead of one for the tests of the crate kcov ({shown(log)}).")
    return Path(built[0])


def programs_of(directory: Path, arch: str = "x86_64") -> Dict[str, Path]:
    """
    Builds the programs of a crate outside the workspace as static programs; returns them by name. Warnings of rustc are
    errors.
    """
    target = ARCHITECTURES[arch].rust_target
    linker = f"CARGO_TARGET_{target.upper().replace('-', '_')}_LINKER"
    # Objects with these flags have a directory of their own. Otherwise each change of the flags would compile them again.
    place = BUILD / "cargo-guest"
    more = {"CARGO_TARGET_DIR": str(place), "RUSTFLAGS": f"-D warnings {STATIC}", linker: programs.compiler(arch)}
    log = LOGS / f"{directory.name}-{arch}.log"
    command = ["cargo", "build", "--release", "--locked", "--target", target, "--manifest-path", str(directory / "Cargo.toml")]
    run_logged(log, f"Building {shown(directory)}", command, env=environment(**more))
    names = [path.stem for path in sorted((directory / "src/bin").glob("*.rs"))]
    if not names:
        die(f"{shown(directory)} has no program in src/bin.")
    return {name: place / target / "release" / name for name in names}
