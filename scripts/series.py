# SPDX-License-Identifier: GPL-2.0
"""
Writes the overlay as a patch series in the form of mails that `git am` takes onto the pristine tree.

The tree itself is not touched: the patches are made in a temporary repository that holds the originals of the
files concerned and nothing else. They are applied again, and run through the tree's checkpatch.pl.
"""

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Dict, List, Optional, Set

import allowances
import overlay
import tree_edits
from hostlib import BUILD, TOP, command_output, die, git_output, say, shown, step


def identity(tree: Path) -> Dict[str, str]:
    """Name and mail address of the person who signs the patches, as git's variables."""
    result = {}
    for part in ("name", "email"):
        variable = f"GIT_AUTHOR_{part.upper()}"
        value = os.environ.get(variable) or next(
            filter(None, (git_output("config", f"user.{part}", cwd=place) for place in (tree, TOP))), ""
        )
        if not value:
            die(
                f"the patches need an author, but git knows no user.{part}; "
                f"set it with `git config --global user.{part} ...` or in the variable {variable}."
            )
        result[variable] = result[f"GIT_COMMITTER_{part.upper()}"] = value
    return result


class Repository:
    """A temporary repository, free of the person's own git configuration."""

    def __init__(self, root: Path, who: Dict[str, str]):
        self.root = root
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        self.env.update(who, HOME=str(root), GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_NOSYSTEM="1")
        root.mkdir(parents=True)
        self.git("init", "-q")

    def git(self, *arguments: str) -> str:
        result = subprocess.run(
            ["git", *arguments],
            cwd=self.root,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        output = result.stdout.decode(errors="replace")
        if result.returncode:
            die(f"`git {arguments[0]}` failed while the series was made: {output.strip()}")
        return output

    def write(self, path: str, data: bytes, executable: bool) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        target.chmod(0o755 if executable else 0o644)

    def commit(self, message: str) -> None:
        self.git("add", "-A", "-f")
        self.git("commit", "-q", "--allow-empty", "-m", message)


def write(root: Path, out: Optional[Path] = None, top: Path = TOP) -> int:
    """Writes the series for the tree at ROOT; the status is that of checkpatch.pl."""
    out = (out or BUILD / "series").absolute()
    tree = overlay.Tree(root)
    who = identity(tree.root)
    todo = overlay.plan(tree, top=top)
    trailer = f"Signed-off-by: {who['GIT_AUTHOR_NAME']} <{who['GIT_AUTHOR_EMAIL']}>"
    with tempfile.TemporaryDirectory(prefix="kcov-series.") as temporary:
        work = Repository(Path(temporary) / "work", who)
        again = Repository(Path(temporary) / "again", who)
        for path, original in todo.originals.items():
            if original is not None:
                for repository in (work, again):
                    repository.write(path, original, overlay.is_executable(tree.root / path))
        for repository in (work, again):
            repository.commit("the tree")
        current = {path: data for path, data in todo.originals.items() if data is not None}
        count = 0
        for patch in tree_edits.PATCHES:
            changed = advance(work, patch.name, todo, current)
            if changed:
                work.commit(f"{patch.subject}\n\n{patch.body}\n\n{trailer}")
                count += 1
        wanted = {path: file.data for path, file in todo.files.items()}
        if current != wanted:
            paths = sorted(set(current) | set(wanted))
            differing = [path for path in paths if current.get(path) != wanted.get(path)]
            die(
                f"the series would not end in the overlay: {overlay.some(differing)}; "
                "check the order in tree_edits.py."
            )
        if not count:
            die(f"{shown(root)} already carries all of the overlay; there is nothing to write.")

        out.mkdir(parents=True, exist_ok=True)
        for old in out.glob("[0-9][0-9][0-9][0-9]-*.patch"):
            old.unlink()
        work.git("format-patch", "-q", "-N", "--numbered", "--no-signature", "-o", str(out), f"-{count}")
        mails = sorted(out.glob("*.patch"))
        again.git("am", "-q", "--whitespace=nowarn", *map(str, mails))
        if again.git("rev-parse", "HEAD^{tree}") != work.git("rev-parse", "HEAD^{tree}"):
            die("the series does not give the overlay's files when it is applied; see tree_edits.py.")
    say(f"{len(mails)} patches in {shown(out)}, for Linux {tree.version}; `git am {shown(out)}/*.patch` takes them.")
    return checkpatch(tree.root, mails)


def advance(work: Repository, name: str, todo: overlay.Plan, current: Dict[str, bytes]) -> Set[str]:
    """Brings the files of one patch from CURRENT to what the overlay wants."""
    touched: Set[str] = set()
    edited = {path for path, file in todo.files.items() if file.edits}
    for path, file in todo.files.items():
        if path not in edited and overlay.patch_of(path) == name and current.get(path) != file.data:
            current[path] = file.data
            touched.add(path)
    for path in sorted(edited):
        file = todo.files[path]
        data = current.get(path)
        if path in todo.brought and overlay.patch_of(path) == name:
            data = todo.brought[path]
        for edit in file.edits:
            if overlay.patch_of(edit.path, edit.patch) == name and data is not None:
                data = overlay.apply_edit(data.decode(), edit).encode()
        if data is not None and data != current.get(path):
            current[path] = data
            touched.add(path)
    for path in touched:
        work.write(path, current[path], todo.files[path].executable)
    return touched


def checkpatch(root: Path, mails: List[Path]) -> int:
    """What the tree's own checkpatch.pl says about the patches."""
    script = root / "scripts" / "checkpatch.pl"
    if command_output("perl", "-v") is None or not script.exists():
        say("checkpatch.pl was not run: it or perl is missing.")
        return 1
    step("Checking the patches with checkpatch.pl")
    places = {target: source for source, target in overlay.PLACES}
    status = 0
    for mail in mails:
        options = [f"--root={root}", "--no-summary", "--quiet", "--show-types", "--terse", "--showfile"]
        result = subprocess.run(
            ["perl", str(script), *options, str(mail)],
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        messages = []
        for line in result.stdout.decode(errors="replace").splitlines():
            # The message as it would be about the file in this repository.
            for target in sorted(places, key=len, reverse=True):
                if line.startswith((target + "/", target + ":")):
                    line = places[target] + line[len(target) :]
                    break
            # A cargo workspace has rules of its own, which cargo fmt and clippy know.
            if line.startswith("tools/kcov/"):
                continue
            if line.strip() and not (Path(line.split(":")[0]).suffix and allowances.find(line, TOP)):
                messages.append(line)
        if messages or (result.returncode and not result.stdout.strip()):
            status = 1
            say(f"{mail.name}:\n" + "\n".join(messages) + "\n")
    say("checkpatch.pl has nothing to object." if not status else "checkpatch.pl objects; see above.")
    return status
