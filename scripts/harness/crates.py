# SPDX-License-Identifier: GPL-2.0
"""
Runs cargo on the crates for user space (tools/kcov), and builds the programs for guests: static ones, since the
initramfs has no libraries.
"""

import json
import subprocess
from pathlib import Path
from typing import Dict

from . import programs
from .arch import ARCHITECTURES
from .hostlib import BUILD, TOP, build_environment, die, run_logged, shown

WORKSPACE = TOP / "tools/kcov"
TARGET_DIR = BUILD / "cargo"
LOGS = BUILD / "log"
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


def program(name: str, arch: str) -> Path:
    """Builds a static program of the workspace, from the crate with its name."""
    target, log = target_of(arch), LOGS / f"cargo-{name}.log"
    command = ["cargo", "build", "--release", "--locked", "--target", target, "-p", name]
    run_logged(log, f"Building {name}", command, env=static_environment(), cwd=WORKSPACE)
    return TARGET_DIR / target / "release" / name


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
