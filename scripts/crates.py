# SPDX-License-Identifier: GPL-2.0
"""
Runs cargo on the crates for user space (tools/kcov), and builds of them what runs in a guest: static programs, since
the initramfs holds no library.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Dict

from hostlib import BUILD, TOP, die, run_logged, shown

WORKSPACE = TOP / "tools/kcov"
TARGET_DIR = BUILD / "cargo"
LOGS = BUILD / "log"
# What cargo calls the architectures whose guests run programs that the host's own cargo can build.
TARGETS = {"x86_64": "x86_64-unknown-linux-gnu", "um": "x86_64-unknown-linux-gnu"}


def environment(**more: str) -> Dict[str, str]:
    return {**os.environ, "CARGO_TARGET_DIR": str(TARGET_DIR), "CARGO_TERM_COLOR": "never", **more}


def static_environment() -> Dict[str, str]:
    return environment(RUSTFLAGS="-C target-feature=+crt-static")


def target_of(arch: str) -> str:
    if arch not in TARGETS:
        die(f"the crates are built for guests of {', '.join(TARGETS)} only, not of {arch}.")
    return TARGETS[arch]


def kcov_trace(arch: str = "x86_64") -> Path:
    """A static kcov-trace, up to date; it runs in the guest and on the host."""
    target, log = target_of(arch), LOGS / "cargo-kcov-trace.log"
    command = ["cargo", "build", "--release", "--locked", "--target", target, "-p", "kcov-trace"]
    run_logged(log, "Building kcov-trace", command, env=static_environment(), cwd=WORKSPACE)
    return TARGET_DIR / target / "release/kcov-trace"


def device_tests(arch: str = "x86_64") -> Path:
    """The tests of the crate kcov that need a KCOV, as a static program."""
    log = LOGS / "cargo-device.log"
    command = ["cargo", "test", "--no-run", "--locked", "--target", target_of(arch), "-p", "kcov", "--test", "device"]
    # Only this form of the output tells what the program is called.
    command.append("--message-format=json-render-diagnostics")
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as errors:
        result = subprocess.run(
            command, cwd=WORKSPACE, env=static_environment(), stdout=subprocess.PIPE, stderr=errors, check=False
        )
    if result.returncode:
        die(f"the tests of the crate kcov could not be built; the log is {shown(log)}.")
    messages = [json.loads(line) for line in result.stdout.splitlines() if line.startswith(b"{")]
    programs = [message["executable"] for message in messages if message.get("executable")]
    if len(programs) != 1:
        die(f"cargo built {len(programs)} programs instead of one for the tests of the crate kcov ({shown(log)}).")
    return Path(programs[0])
