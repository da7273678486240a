"""Emoji as pictures of named things: files named by their codepoints, in a folder or in an npm package.

`1f6f8.webp` is `unicodedata.name` of U+1F6F8, "flying saucer"; a picture of several codepoints has no such
name and is left out, and so is one that this Python does not know. Made for Fluent Emoji 3D, where things are
shaded and cut out: `npm pack @lobehub/fluent-emoji-3d@1.1.0` (MIT, Microsoft). Nothing is downloaded here.
`python -m threestudio_like.data.emoji FILE FOLDER` leaves the held-out ones as FOLDER/flying-saucer.webp.
"""

from __future__ import annotations

import argparse
import io
import logging
import math
import os
import re
import sys
import tarfile
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from threestudio_like import cache
from threestudio_like.data.album import Album, Cameras
from threestudio_like.data.objects import held_out
from threestudio_like.data.picture import FORMATS
from threestudio_like.files import replacing, write

log = logging.getLogger(__name__)
FORMAT = 1  # of the kept pictures; a change of reading or placing must count it up
FILE = re.compile(r"(?:.*/)?([0-9a-f]{4,6})(?:-fe0f)?\.(?:webp|png)", re.IGNORECASE)  # fe0f asks for colours
OUTLINE = 8  # of 255: alpha that counts as the thing when it is cut to its box


class Emoji:
    """The pictures under `path`: a folder (recursive), or a .tgz.

    copies: of each, differently large and placed. fill: share of the picture's side that the longest side
    takes, from and to. seed: of the placing; not the run's. cache: null: the user's.
    """

    def __init__(
        self, *, path: str | None, copies: int, fill: Sequence[float], seed: int, cache: str | None
    ) -> None:
        if path is None:
            raise ValueError("path: not given; expected a folder of emoji, or an npm package's .tgz of them")
        self.path = Path(os.path.expanduser(path))
        if not self.path.exists():
            raise ValueError(f"path: no such file or folder {path!r}; expected a folder of emoji, or a .tgz")
        if not 0 < fill[0] <= fill[1] <= 1:
            raise ValueError(f"fill: needs two shares of the side, rising, not {list(fill)}")
        if copies < 2:
            raise ValueError(f"copies: at least 2, a picture and another of the same thing, not {copies}")
        self.copies, self.fill, self.seed, self.folder = copies, fill, seed, cache

    def albums(self, cameras: Cameras) -> tuple[Album, Album]:
        """Pictures to train on, and those held out by name: `copies` of each, seen from the front."""
        names, pictures = self.kept(cameras.size)
        pose = [0.0, 0.0, sum(cameras.distance) / len(cameras.distance)]
        poses = np.tile(np.array(pose, dtype=np.float32), (len(names), self.copies, 1))
        apart = np.array([held_out(name) for name in names])
        log.info("%d named pictures to train on, %d held out by name", (~apart).sum(), apart.sum())
        seen, kept = (Album(names, pictures, poses, np.flatnonzero(side)) for side in (~apart, apart))
        if not len(seen.rows) or not len(kept.rows):
            raise ValueError(f"path: too few named pictures in {self.path}: {len(names)}")
        return seen, kept

    def kept(self, size: int) -> tuple[list[str], np.ndarray]:
        """Names and N M H W 4 pictures, from the cache if they were read before."""
        key = cache.digest(FORMAT, self.fingerprint(), size, self.copies, list(self.fill), self.seed)
        file = cache.folder(self.folder) / f"emoji-{key}.npz"
        if not file.exists():
            log.info("reading the pictures in %s (once; kept in %s)", self.path, file)
            found = sorted(self.named().items())
            if not found:
                raise ValueError(f"path: no picture named by its codepoint in {self.path}, like 1f6f8.webp")
            placed = np.stack([self.placed(image, i, size) for i, (_, image) in enumerate(found)])
            with replacing(file) as partial:
                np.savez(partial, names=np.array([name for name, _ in found]), pictures=placed)
        with np.load(file) as data:
            return [str(name) for name in data["names"]], data["pictures"]

    def fingerprint(self) -> str:
        """Changes when a file does."""
        files = [self.path] if self.path.is_file() else sorted(f for f in self.path.rglob("*") if f.is_file())
        return cache.digest(
            str(self.path.resolve()), [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files]
        )

    def named(self) -> dict[str, Image.Image]:
        """Pictures by name; the first of several with one name."""
        found: dict[str, Image.Image] = {}
        for place, content in contents(self.path):
            name = name_of(place)
            if name is not None and name not in found:
                try:
                    found[name] = Image.open(io.BytesIO(content), formats=FORMATS).convert("RGBA")
                except (UnidentifiedImageError, OSError) as error:
                    log.warning("skipped %s: %s", place, error)
        return found

    def placed(self, image: Image.Image, index: int, size: int) -> np.ndarray:
        """M H W 4 uint8, straight colour and alpha: the thing's box at a random size and place."""
        rng = np.random.default_rng([self.seed, index])
        box = image.getchannel("A").point(lambda alpha: 255 * (alpha > OUTLINE)).getbbox()
        cut = image.crop(box)
        copies = []
        for _ in range(self.copies):
            scale = size * rng.uniform(self.fill[0], self.fill[1]) / max(cut.size)
            sides = [max(1, round(scale * side)) for side in cut.size]
            small = cut.convert("RGBa").resize(sides, Image.Resampling.BOX).convert("RGBA")
            left, top = (math.floor(rng.uniform(0.25, 0.75) * (size - side)) for side in sides)
            square = Image.new("RGBA", (size, size))
            square.paste(small, (left, top))
            copies.append(np.asarray(square))
        return np.stack(copies)


def contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """Every file in a folder or a .tgz that may be one, in a fixed order."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file() and FILE.fullmatch(file.name):
                yield file.name, file.read_bytes()
        return
    try:
        with tarfile.open(path) as archive:
            for member in sorted(archive.getmembers(), key=lambda each: each.name):
                handle = archive.extractfile(member) if FILE.fullmatch(member.name) else None
                if handle is not None:
                    yield member.name, handle.read()
    except tarfile.TarError as error:
        raise ValueError(f"path: {path} is not a whole .tgz: {error}") from error


def name_of(place: str) -> str | None:
    """In lower case; none if the file is not of one codepoint that has a name."""
    match = FILE.fullmatch(place)
    if match is None or int(match[1], 16) > 0x10FFFF:
        return None
    name = unicodedata.name(chr(int(match[1], 16)), None)
    return None if name is None else name.lower()


def unpacked(path: Path, folder: Path) -> int:
    """Pictures of the names that no prior was trained on, as files of these names; how many."""
    found = {name_of(place): (place, content) for place, content in reversed(list(contents(path)))}
    named = {name: both for name, both in found.items() if name is not None and held_out(name)}
    for name, (place, content) in named.items():
        write(folder / f"{name.replace(' ', '-')}{Path(place).suffix}", content)
    return len(named)


def main(arguments: list[str]) -> int:
    """Unpack what is held out."""
    parser = argparse.ArgumentParser(prog="python -m threestudio_like.data.emoji", description=__doc__)
    parser.add_argument("path", type=Path, help="a folder of emoji, or an npm package's .tgz of them")
    parser.add_argument("folder", type=Path, help="where the held-out ones are written, under their names")
    given = parser.parse_args(arguments)
    try:
        if not given.path.exists():
            raise ValueError(f"no such file or folder '{given.path}'; expected a folder of emoji, or a .tgz")
        if not (count := unpacked(given.path, given.folder)):
            raise ValueError(f"no picture named by its codepoint in '{given.path}', like 1f6f8.webp")
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{given.folder}: {count} pictures")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
