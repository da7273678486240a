"""The run folder: it explains itself and is never overwritten.

run.json      what ran, with what, how far it came
config.yaml   everything resolved: the record that a resume goes by
changes.diff  how the code differed from its git commit, where it did
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

from threestudio_like.files import Unwritable, clear, write, writing
from threestudio_like.run.errors import UserError, one_line

PACKAGES = (
    "torch",
    "pytorch-lightning",
    "hydra-core",
    "diffusers",
    "transformers",
    "peft",
    "numba",
    "trimesh",
)
ROOT = Path(__file__).resolve().parents[2]
CODE = ("launch.py", "threestudio_like", "systems", "configs")
CHANGES = "changes.diff"
LONGEST = 64  # bytes of a name


class RunFolder:
    """One run: its place, its lock and its manifest. Only the first process of a run writes."""

    def __init__(self, path: Path, *, writes: bool) -> None:
        self.path = path
        self.writes = writes
        self._lock = lock(path) if writes else None
        try:
            self.manifest = manifest(path / "run.json")
        except UserError:
            self.close()
            raise
        if writes:
            clear(path)  # its lock is held

    def record(self, **values: Any) -> None:
        """Set values of the manifest and write it."""
        self.manifest.update(values, updated=now())
        if self.writes:
            write(self.path / "run.json", json.dumps(self.manifest, indent=2, default=str) + "\n")

    def part(self, group: str, name: str) -> dict[str, Any]:
        """What the manifest says of one stage, or of one step after the stages."""
        return self.manifest.get(group, {}).get(name, {})

    def record_part(self, group: str, name: str, **values: Any) -> None:
        """The same for one of them."""
        parts = self.manifest.get(group, {})
        self.record(**{group: {**parts, name: {**parts.get(name, {}), **values}}})

    def close(self) -> None:
        """Let another process have it."""
        if self._lock is not None:
            self._lock.close()


def manifest(file: Path) -> dict[str, Any]:
    """What run.json says; nothing where it is not there yet."""
    found: dict[str, Any] = {}
    if not file.exists():
        return found
    try:
        found = json.loads(file.read_text())
        problem = unlike(found)
    except RecursionError:
        problem = "too many brackets in each other"
    except (ValueError, OSError) as error:
        problem = one_line(error)
    if problem:
        raise UserError(f"resume: {file} cannot be read ({problem})")
    return found


def unlike(record: Any) -> str:
    """What a run's record does not have as it was written; empty if nothing that is gone by."""
    if not isinstance(record, dict) or not {"plan", "overrides"} <= set(record):
        return "it is not the record of a run"
    for name in ("plan", "overrides"):
        if not isinstance(record[name], list) or not all(isinstance(word, str) for word in record[name]):
            return f"{name!r} is not a list of words"
    for name in ("stages", "after"):
        parts = record.get(name, {})
        if not isinstance(parts, dict) or not all(map(is_part, parts.values())):
            return f"{name!r} does not say of each how it ended"
    return ""


def is_part(said: Any) -> bool:
    """Whether it may be what a record says of one stage or step."""
    if not isinstance(said, dict):
        return False
    return isinstance(said.get("seconds", 0.0), (int, float)) and isinstance(said.get("result", {}), dict)


@contextmanager
def failing(folder: RunFolder, group: str, name: str) -> Iterator[None]:
    """Whatever stops a part of the run is written into the manifest."""
    try:
        yield
    except BaseException as error:
        state = "interrupted" if isinstance(error, KeyboardInterrupt) else getattr(error, "state", "failed")
        with suppress(Unwritable):  # it says what stopped the run, not that the disk is still full
            folder.record_part(group, name, state=state)
            folder.record(state=state, error="" if state == "interrupted" else one_line(error))
        raise


def claimed(parent: Path, name: str) -> Path:
    """A new folder called `name`, or `name-2`, `name-3`… where that is taken."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        count = 1
        while True:
            path = parent / (name if count == 1 else f"{name}-{count}")
            with suppress(FileExistsError):
                path.mkdir()
                return path
            count += 1
    except OSError as error:
        raise UserError(f"outputs: cannot write in {parent} ({error.strerror})") from error


def lock(path: Path) -> TextIO:
    """Held until this process ends, however it ends."""
    file = hold(path / ".lock")
    if file is None:
        raise UserError(f"resume: another process is at work in {path}")
    return file


def at_work(path: Path) -> bool:
    """Whether a process holds a run's folder now; what does not say so was killed, if it was running."""
    return held(path / ".lock")


def hold(path: Path) -> TextIO | None:
    """A file, locked until it is closed or this process ends; None if another process has it."""
    with writing(path):
        file = open(path, "w")  # noqa: SIM115  held open on purpose
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def held(path: Path) -> bool:
    """Whether a process has locked a file."""
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def recorded(file: Path) -> dict[str, Any]:
    """What a JSON file that a run left says; nothing where there is none, or a damaged one."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def slug(text: str) -> str:
    """Words joined by hyphens: what is safe as a folder's name in any file system, and in HTML."""
    plain = unicodedata.normalize("NFKC", text).lower()
    words = re.sub(r"[\W_]+", "-", plain).strip("-")
    return words.encode()[:LONGEST].decode(errors="ignore").strip("-")


def title(*, name: str | None, prompt: str, sources: Sequence[str]) -> str:
    """The user's name for the run, or else its words, or its picture's; `shapes/7` is a name, not a path."""
    files = [Path(source).stem if Path(source).is_absolute() else source for source in sources]
    return next((s for s in map(slug, (name or "", prompt, *files)) if s), "untitled")


def now() -> str:
    """The time, to the second, with its zone."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def circumstances() -> Mapping[str, Any]:
    """What else a result depends on: versions, the revision of the code, the command."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {"argv": sys.argv, "versions": versions, "revision": revision(), "machine": platform.platform()}


def revision() -> str | None:
    """The git commit of this code, `+` if it was changed since; None where it is not a checkout."""
    commit = git("rev-parse", "HEAD").strip()
    return commit + ("+" if changes() else "") if commit else None


def changes() -> str:
    """How this code differs from its git commit, as a patch, files that are new in it too."""
    new = git("ls-files", "--others", "--exclude-standard", "--", *CODE).splitlines()
    added = [git("diff", "--no-color", "--no-ext-diff", "--no-index", os.devnull, name) for name in new]
    return git("diff", "--no-color", "--no-ext-diff", "HEAD") + "".join(added)


def git(*words: str, root: Path = ROOT) -> str:
    """What git says of this checkout; nothing where there is none, or no git."""
    if not (root / ".git").exists():
        return ""
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, check=False)
    except OSError:
        return ""
    return done.stdout.decode(errors="replace")
