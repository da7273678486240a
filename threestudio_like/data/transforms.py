"""Posed pictures in a folder: NeRF-synthetic's transforms_train.json, or nerfstudio's transforms.json.

Poses are camera-to-world in OpenGL axes, z up, as in the house; principal points are counted from the
picture's top left corner. Pictures need an alpha channel or a mask (`mask_path`): objects are fitted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from threestudio_like.data.hull import box
from threestudio_like.data.picture import decoded, resized, values
from threestudio_like.records import Camera, View

HELD_OUT = 8  # where a file does not say which pictures are for testing, each eighth is
MAX_PIXELS = 100_000_000  # of a picture; larger ones are refused before they are unpacked
RIGID = 1e-2  # how far a rotation's rows may be from unit length and right angles
DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")
SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".PNG", ".JPG", ".JPEG")  # NeRF-synthetic leaves them out


class Lens(NamedTuple):
    """What a picture was taken with: focal lengths and principal point in its own pixels."""

    fl_x: float
    fl_y: float
    cx: float
    cy: float


class Frame(NamedTuple):
    """One picture, straight alpha, with its pose and lens at its present size."""

    pixels: Float[Tensor, "H W 4"]
    c2w: Float[Tensor, "4 4"]
    lens: Lens


def read(folder: Path, side: int) -> tuple[View, View]:
    """(to fit, to test on), pictures of at most `side` pixels a side; the object's own longest side is 1."""
    train, test = (frames(folder, part, side) for part in listed(folder))
    seen = stacked(train, folder)
    low, high = box(seen)
    centre, scale = (low + high) / 2, float((high - low).max())
    return moved(seen, centre, scale), moved(stacked(test, folder), centre, scale)


def listed(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The frames to fit and to test on, each with what its file says for all of them."""
    if (folder / "transforms_train.json").is_file():
        held_out = next((n for n in ("test", "val") if (folder / f"transforms_{n}.json").is_file()), None)
        train = entries(folder / "transforms_train.json")
        if held_out is not None:
            return train, entries(folder / f"transforms_{held_out}.json")
    elif (folder / "transforms.json").is_file():
        train = entries(folder / "transforms.json")
    else:
        raise ValueError(f"dataset: neither transforms.json nor transforms_train.json in {str(folder)!r}")
    if len(train) < 2:
        raise ValueError(f"dataset: {len(train)} pictures in {str(folder)!r}; at least 2 are needed")
    return [f for i, f in enumerate(train) if i % HELD_OUT], train[::HELD_OUT]


def entries(file: Path) -> list[dict[str, Any]]:
    """The frames of one file."""
    tree: Any = None
    problem = ""
    try:
        tree = json.loads(file.read_text())
    except RecursionError:
        problem = "too many brackets in each other"
    except ValueError as error:
        problem = f"not JSON: {error}"
    listed = tree.get("frames") if isinstance(tree, dict) else None
    if not isinstance(listed, list) or not all(isinstance(frame, dict) for frame in listed):
        problem = problem or "expected 'frames': a list, and in it for each picture its file_path and pose"
        raise ValueError(f"dataset: {file} is not a list of frames ({problem})")
    shared = {name: value for name, value in tree.items() if name != "frames"}
    found = [{**shared, **frame} for frame in listed]
    if not found:
        raise ValueError(f"dataset: {file} has no frames")
    for frame in found:
        if bent := [name for name in DISTORTION if frame.get(name)]:
            raise ValueError(f"dataset: {file} has lens distortion ({', '.join(bent)}); undistort it first")
    return found


def frames(folder: Path, listed: list[dict[str, Any]], side: int) -> list[Frame]:
    """Pictures read and made smaller, one after the other."""
    return [frame(folder, entry, side) for entry in listed]


def frame(folder: Path, entry: Mapping[str, Any], side: int) -> Frame:
    """One picture: its pixels become square, its longer side at most `side` of them."""
    name = path_in(entry, "file_path")
    pixels = opened(folder, name)
    if "mask_path" in entry:
        mask = opened(folder, path_in(entry, "mask_path"))[..., :1]
        if mask.shape[:2] != pixels.shape[:2]:
            raise ValueError(f"dataset: the mask of {name!r} has another size than the picture")
        pixels = torch.cat([pixels[..., :3], mask], dim=-1)
    elif pixels[..., 3].min() > 0.98:
        raise ValueError(f"dataset: {name!r} has no alpha; cut the object out, or give masks (mask_path)")
    try:
        c2w = matrix(entry.get("transform_matrix"))
        lens = lens_of(entry, *pixels.shape[:2])
    except (ValueError, ArithmeticError) as error:
        problem = error if isinstance(error, ValueError) else "a number is 0 or too large"
        raise ValueError(f"dataset: the pose or lens of {name!r} cannot be read ({problem})") from error
    check_pose(c2w, name)
    if not all(map(math.isfinite, lens)) or min(lens.fl_x, lens.fl_y) <= 0:
        raise ValueError(f"dataset: the lens of {name!r} has no positive focal length, or is not finite")
    return shrunk(Frame(pixels, c2w, lens), side)


def path_in(entry: Mapping[str, Any], key: str) -> str:
    """A file's name that a frame gives."""
    if not isinstance(entry.get(key), str):
        raise ValueError(f"dataset: {key} of a frame must be a text, got {entry.get(key)!r}")
    return entry[key]


def matrix(rows: Any) -> Tensor:
    """The numbers of a pose, in any shape."""
    try:
        return torch.tensor(rows, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:  # torch's own words are of Python
        raise ValueError("transform_matrix must be 4 rows of 4 numbers") from error


def number(entry: Mapping[str, Any], key: str, absent: int | float | None = None) -> float:
    """What a frame says of its lens."""
    value = entry.get(key, absent)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ValueError(f"{key} must be a number, got {value!r}")
    return float(value)


def check_pose(c2w: Tensor, name: str) -> None:
    """A camera is turned and moved, and nothing else."""
    if c2w.shape != (4, 4):
        raise ValueError(f"dataset: transform_matrix of {name!r} is {tuple(c2w.shape)}, expected 4 x 4")
    if not c2w.isfinite().all():
        raise ValueError(f"dataset: transform_matrix of {name!r} has a number that is not finite")
    turn = c2w[:3, :3]
    skew = (turn @ turn.T - torch.eye(3)).abs().max()
    if skew > RIGID or turn.det() < 0 or not torch.allclose(c2w[3], torch.tensor([0.0, 0.0, 0.0, 1.0])):
        raise ValueError(
            f"dataset: transform_matrix of {name!r} is no rotation with a place (4th row 0 0 0 1)"
        )


def opened(folder: Path, name: str) -> Float[Tensor, "H W 4"]:
    """A picture's pixels; alpha 1 if it has none."""
    path = next((p for p in (folder / f"{name}{end}" for end in SUFFIXES) if p.is_file()), None)
    if path is None:
        raise ValueError(f"dataset: no picture {name!r} in {str(folder)!r}")
    return values(decoded(path, MAX_PIXELS, key="dataset", upright=False))  # a pose is of the stored pixels


def lens_of(entry: Mapping[str, Any], height: int, width: int) -> Lens:
    """From focal lengths and a principal point (in a picture of w by h, where given), or from an angle."""
    w, h = number(entry, "w", width), number(entry, "h", height)
    off = min(abs(width * h / w - height), abs(height * w / h - width))
    if off > 1:  # a smaller copy's sides are rounded
        raise ValueError(f"w and h are {w:g} and {h:g}, the picture's sides {width} and {height}")
    if "fl_x" in entry or "fl_y" in entry:
        fl_x = number(entry, "fl_x" if "fl_x" in entry else "fl_y")
        fl_y = number(entry, "fl_y", fl_x)
        cx, cy = number(entry, "cx", w / 2), number(entry, "cy", h / 2)
        return Lens(fl_x * width / w, fl_y * height / h, cx * width / w, cy * height / h)
    fl = 0.5 * width / math.tan(0.5 * number(entry, "camera_angle_x"))
    return Lens(fl, fl, 0.5 * width, 0.5 * height)


def shrunk(frame: Frame, side: int) -> Frame:
    """Made smaller, never larger; a lens of two focal lengths is made one by the picture's proportions."""
    height, width = frame.pixels.shape[:2]
    scale = min(1.0, side / max(height, width * frame.lens.fl_y / frame.lens.fl_x))
    new_height = max(1, round(height * scale))
    new_width = max(1, round(width * scale * frame.lens.fl_y / frame.lens.fl_x))
    y, x = new_height / height, new_width / width
    lens = Lens(frame.lens.fl_x * x, frame.lens.fl_y * y, frame.lens.cx * x, frame.lens.cy * y)
    if (new_height, new_width) == (height, width):
        return frame
    return frame._replace(pixels=resized(frame.pixels, new_height, new_width), lens=lens)


def stacked(found: list[Frame], folder: Path) -> View:
    """All pictures in one record; they must be of one size."""
    sizes = {tuple(each.pixels.shape[:2]) for each in found}
    if len(sizes) != 1:
        raise ValueError(f"dataset: pictures of one size are needed, {str(folder)!r} has {sorted(sizes)}")
    ((height, width),) = sizes
    pixels = torch.stack([each.pixels for each in found])
    lenses = torch.tensor([each.lens for each in found])
    shift = lenses[:, 2:] - torch.tensor([0.5 * width, 0.5 * height])
    fov_y = 2 * torch.atan(0.5 * height / lenses[:, 1])
    camera = Camera(torch.stack([each.c2w for each in found]), fov_y, height, width, shift)
    return View(camera, pixels[..., :3], pixels[..., 3:])


def moved(view: View, centre: Float[Tensor, " 3"], scale: float) -> View:
    """The same pictures in a world where `centre` is the origin and `scale` is 1."""
    c2w = view.camera.c2w.clone()
    c2w[:, :3, 3] = (c2w[:, :3, 3] - centre) / scale
    return view._replace(camera=view.camera._replace(c2w=c2w))
