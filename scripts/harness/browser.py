# SPDX-License-Identifier: GPL-2.0
"""
Finds Chromium, opens pages in it without a window, and takes screenshots of them.
"""

import functools
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import List, Tuple

from .hostlib import SCRIPTS, die, shown

NAMES = ("chromium", "chromium-browser", "google-chrome")
# A page of some megabytes takes seconds on a machine that is busy with other work.
SECONDS = 180


@functools.lru_cache(maxsize=None)
def find() -> Tuple[str, str]:
    """Returns the browser's path, or the reason why there is none. Tries to install it once."""
    found = next((path for path in map(shutil.which, NAMES) if path), "")
    if found:
        return found, ""
    attempt = subprocess.run(
        [str(SCRIPTS / "setup.sh"), "browser"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    found = next((path for path in map(shutil.which, NAMES) if path), "")
    if found:
        return found, ""
    said = attempt.stdout.decode(errors="replace").strip().splitlines()
    return "", f"there is no Chromium, and `scripts/setup.sh browser` could not install it: {said[-1] if said else 'no message'}"


def _run(browser: str, width: int, height: int, address: str, *options: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="kcov-browser-") as profile:
        command: List[str] = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000"]
        command += [f"--user-data-dir={profile}", f"--window-size={width},{height}", *options, address]
        try:
            result = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            die(f"{browser} did not end within {SECONDS} seconds on {address}.")
    if result.returncode:
        said = result.stderr.decode(errors="replace").strip().splitlines()
        die(f"{browser} failed with status {result.returncode} on {address}: {said[-1] if said else 'no message'}")
    return result.stdout


def dom(browser: str, width: int, address: str) -> str:
    """Returns the page's DOM after its scripts have run."""
    return _run(browser, width, 900, address, "--dump-dom").decode(errors="replace")


def screenshot(browser: str, width: int, address: str, picture: Path) -> Tuple[int, int]:
    """Writes a screenshot as a PNG file; returns its width and height."""
    picture.unlink(missing_ok=True)
    _run(browser, width, 900, address, f"--screenshot={picture}")
    if not picture.exists():
        die(f"{browser} wrote no picture to {shown(picture)}.")
    data = picture.read_bytes()
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        die(f"{shown(picture)} is not a PNG file.")
    return struct.unpack(">II", data[16:24])
