# SPDX-License-Identifier: GPL-2.0
"""
The user-space crates: their tests, clippy and their documentation.
"""

import os
import re
import subprocess
from typing import Iterator, List

from checklib import LOGS, Context, Result, failed, passed
from hostlib import BUILD, TOP, shown

ORDER = 20

WORKSPACE = TOP / "tools/kcov"
TEST = re.compile(r"^test (?P<name>.+?) \.\.\. (?P<outcome>ok|FAILED|ignored)\b", re.MULTILINE)


def cargo(log: str, *arguments: str, **more: str) -> "subprocess.CompletedProcess[bytes]":
    """Runs cargo on the workspace; what it says goes to a file as well."""
    environment = {**os.environ, "CARGO_TARGET_DIR": str(BUILD / "cargo"), "CARGO_TERM_COLOR": "never", **more}
    result = subprocess.run(
        ["cargo", *arguments, "--workspace", "--locked"],
        cwd=WORKSPACE,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    LOGS.mkdir(parents=True, exist_ok=True)
    (LOGS / log).write_bytes(result.stdout)
    return result


def end_of(output: bytes, log: str) -> str:
    lines: List[str] = output.decode(errors="replace").strip().splitlines()[-25:]
    return "\n".join([*lines, f"the whole log is in {shown(LOGS / log)}"])


def run(context: Context) -> Iterator[Result]:
    context.progress("cargo test")
    tests = cargo("cargo-test.log", "test")
    found = False
    for match in TEST.finditer(tests.stdout.decode(errors="replace")):
        found = True
        if match["outcome"] == "FAILED":
            yield failed(match["name"], end_of(tests.stdout, "cargo-test.log"))
        elif match["outcome"] == "ok":
            yield passed(match["name"])
    if tests.returncode or not found:
        yield failed("cargo test", end_of(tests.stdout, "cargo-test.log"))

    context.progress("clippy")
    lint = cargo("cargo-clippy.log", "clippy", "--all-targets", RUSTFLAGS="-D warnings")
    yield failed("clippy", end_of(lint.stdout, "cargo-clippy.log")) if lint.returncode else passed("clippy")

    context.progress("cargo doc")
    documentation = cargo("cargo-doc.log", "doc", "--no-deps", RUSTDOCFLAGS="-D warnings")
    name = "documentation"
    yield failed(name, end_of(documentation.stdout, "cargo-doc.log")) if documentation.returncode else passed(name)
