# SPDX-License-Identifier: GPL-2.0
"""
Writes the initramfs of a guest: a cpio archive in the format "newc". This needs neither root nor a program. The tree's
gen_init_cpio would have to be built for each kernel that is booted, and takes texts only from files.
"""

import stat
from pathlib import Path
from typing import Dict, Iterator, Tuple, Union

# The content of a guest's file: the bytes or text, or a file of the host.
Source = Union[bytes, str, Path]

DIRECTORIES = ("bin", "dev", "guest", "proc", "root", "sys", "tmp")
# The kernel opens it for the first program, before that program can mount anything.
CONSOLE = ("dev/console", stat.S_IFCHR | 0o600, (5, 1))

TRAILER = "TRAILER!!!"


def record(number: int, name: str, mode: int, data: bytes = b"", device: Tuple[int, int] = (0, 0)) -> bytes:
    """Returns one entry: a header of hexadecimal fields, the name and the data, both padded to four bytes."""
    encoded = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = (number, mode, 0, 0, links, 0, len(data), 0, 0, *device, len(encoded), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    return _padded(header) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def parents(names: Iterator[str]) -> Iterator[str]:
    """Yields every directory that NAMES need once, outer directories first."""
    seen = set()
    for name in names:
        parts = name.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            directory = "/".join(parts[:depth])
            if directory not in seen:
                seen.add(directory)
                yield directory


def write(target: Path, files: Dict[str, Source]) -> None:
    """
    Writes the archive. FILES maps absolute names in the guest to contents. Files of the host keep their execute
    permission; contents are executable if they begin as a script does.
    """
    names = {name.lstrip("/"): source for name, source in files.items()}
    directories = [*DIRECTORIES, *(name for name in parents(iter(names)) if name not in DIRECTORIES)]
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target, "wb") as archive:
        number = 1
        for directory in directories:
            archive.write(record(number, directory, stat.S_IFDIR | 0o755))
            number += 1
        archive.write(record(number, CONSOLE[0], CONSOLE[1], device=CONSOLE[2]))
        for name, source in names.items():
            number += 1
            if isinstance(source, bytes):
                data, executable = source, source.startswith(b"#!")
            else:
                path = Path(source)
                data, executable = path.read_bytes(), bool(path.stat().st_mode & stat.S_IXUSR)
            archive.write(record(number, name, stat.S_IFREG | (0o755 if executable else 0o644), data))
        archive.write(record(0, TRAILER, 0))
