# SPDX-License-Identifier: GPL-2.0
"""
Writes the overlay as mails that `git am` applies to the pristine tree, and rewrites the patches. The tree is not
changed.
"""

import os
import re
import subprocess
from pathlib import Path
from typing import Dict, List

from . import allowances
from .hostlib import TOP, command_output, die, git_output, say, shown, step, write_if_changed
from .overlay import SPIN_LOCK_IRQ, Tree, plan, some
from .patches import PLACES, Scratch, added_by, apply_all, edited_files, is_executable, read_patches, scratch_of


def identity(tree: Path) -> Dict[str, str]:
    """Returns name and mail address of the person who signs the patches, as git's variables."""
    result = {}
    for part in ("name", "email"):
        variable = f"GIT_AUTHOR_{part.upper()}"
        value = os.environ.get(variable) or next(
            filter(None, (git_output("config", f"user.{part}", cwd=where) for where in (tree, TOP))), ""
        )
        if not value:
            die(
                f"the patches need an author, but git knows no user.{part}; "
                f"set it with `git config --global user.{part} ...` or in the variable {variable}."
            )
        result[variable] = result[f"GIT_COMMITTER_{part.upper()}"] = value
    return result


def write(root: Path, out: Path, top: Path = TOP) -> int:
    """Writes the series for the tree at ROOT, which is not changed; returns the status of checkpatch.pl."""
    tree, who = Tree(root), identity(root)
    todo = plan(tree, top=top)
    if not tree.offers(SPIN_LOCK_IRQ):
        die(f"{tree} lacks {SPIN_LOCK_IRQ.what}, and the series does not take what replaces it; name a newer tree.")
    trailer = f"Signed-off-by: {who['GIT_AUTHOR_NAME']} <{who['GIT_AUTHOR_EMAIL']}>"
    with scratch_of(tree.root, str(tree), who) as scratch:
        for path, data in todo.originals.items():
            if data is not None and path not in todo.leaving:
                scratch.write(path, data, is_executable(tree.root / path))
        scratch.commit("the tree")
        base, count = scratch.need("rev-parse", "HEAD").strip(), 0
        for patch in apply_all(scratch, read_patches(top), todo.originals):
            for path, file in added_by(patch, top).items():
                scratch.write(path, file.data, file.executable)
            if scratch.need("status", "--porcelain"):
                scratch.commit(f"{patch.message}\n\n{trailer}")
                count += 1
        if not count:
            die(f"{tree} already carries all of the overlay; there is nothing to write.")
        out.mkdir(parents=True, exist_ok=True)
        for old in out.glob("[0-9][0-9][0-9][0-9]-*.patch"):
            old.unlink()
        scratch.need("format-patch", "-q", "-N", "--numbered", "--no-signature", "-o", str(out.absolute()), f"-{count}")
        mails = sorted(out.absolute().glob("*.patch"))
        wanted = scratch.need("rev-parse", "HEAD^{tree}")
        scratch.need("reset", "-q", "--hard", base)
        scratch.need("am", "-q", "--whitespace=nowarn", *map(str, mails))
        if scratch.need("rev-parse", "HEAD^{tree}") != wanted:
            die("the mails, when applied, do not produce the overlay's files; correct patches/.")
    say(f"{len(mails)} patches in {shown(out)}, for Linux {tree.version}; `git am {shown(out)}/*.patch` takes them.")
    return checkpatch(tree.root, mails)


def checkpatch(root: Path, mails: List[Path]) -> int:
    """Runs the tree's own checkpatch.pl on the mails."""
    script = root / "scripts" / "checkpatch.pl"
    if command_output("perl", "-v") is None or not script.exists():
        say("checkpatch.pl was not run: it or perl is missing.")
        return 1
    step("Checking the patches with checkpatch.pl")
    result = 0
    for mail in mails:
        options = [f"--root={root}", "--no-summary", "--quiet", "--show-types", "--terse", "--showfile"]
        run = subprocess.run(
            ["perl", str(script), *options, str(mail)],
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        messages = []
        for line in run.stdout.decode(errors="replace").splitlines():
            # The message as it would be for the file in this repository.
            for source, target in PLACES.items():
                line = re.sub(rf"^{re.escape(target)}(?=[/:])", source, line)
            # Cargo workspaces have rules of their own, which cargo fmt and clippy check.
            if line.startswith(("tools/kcov/", "tools/testing/kcov/")):
                continue
            if line.strip() and not (Path(line.split(":")[0]).suffix and allowances.find(line, TOP)):
                messages.append(line)
        if messages or (run.returncode and not run.stdout.strip()):
            result = 1
            say(f"{mail.name}:\n" + "\n".join(messages) + "\n")
    say("checkpatch.pl has no complaints." if not result else "checkpatch.pl objects; see above.")
    return result


def refresh(root: Path, name: str = "", top: Path = TOP) -> List[Path]:
    """
    Adds changes that were made to patched files in the tree to the patch whose name begins with NAME, and rewrites all
    patches; returns the patches that differ then.
    """
    tree, patches = Tree(root), read_patches(top)
    chosen = [patch for patch in patches if name and patch.path.name.startswith(name)]
    if name and len(chosen) != 1:
        die(f"{len(chosen)} patches begin with '{name}'; there are: {' '.join(patch.path.name for patch in patches)}.")
    edits = sorted({path for patch in patches for path in patch.edits})
    originals = {path: tree.recorded_original(path) if path in tree.record else tree.read(path) for path in edits}
    with scratch_of(tree.root, str(tree)) as scratch:
        for _ in apply_all(scratch, patches, originals):
            pass
        applied = {path: (scratch.root / path).read_bytes() for path in edits}
        current = {path: tree.read(path) for path in edits if path in tree.record}
        changed = [path for path in current if not tree.ours(path, current[path]) and current[path] != applied[path]]
        if changed and not chosen:
            die(f"{some(changed)} of {tree} changed since the installation; name the patch that the changes belong to.")
        for path in edits:
            scratch.write(path, originals[path] or b"", is_executable(tree.root / path))
        scratch.need("add", "-A", "-f")
        last = scratch.need("write-tree").strip()
        texts: Dict[Path, str] = {}
        for patch in apply_all(scratch, patches, originals):
            for path in changed if patch in chosen else ():
                scratch.write(path, merged(scratch, path, applied[path], tree), is_executable(tree.root / path))
            scratch.need("add", "-A", "-f")
            now = scratch.need("write-tree").strip()
            diff = scratch.need("diff", "--stat=72", "--patch", "--full-index", "--no-renames", last, now)
            lost = set(patch.edits) - edited_files(diff)
            if lost:
                die(f"{some(sorted(lost))} of {tree} had the edits before the overlay came; name a pristine tree.")
            texts[patch.path], last = patch.text(diff), now
    return [path for path, text in texts.items() if write_if_changed(path, text.encode())]


def merged(scratch: Scratch, path: str, applied: bytes, tree: Tree) -> bytes:
    """Returns a file of the scratch repository, merged with the changes in the tree since all patches were applied to it."""
    scratch.write(".git/base", applied, False)
    if not scratch.git("merge-file", "-q", path, ".git/base", str(tree.root / path))[0]:
        die(f"the changes of {path} in {tree} do not merge with this patch; name the last one that changes the file.")
    return (scratch.root / path).read_bytes()
