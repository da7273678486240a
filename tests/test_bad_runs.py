"""Damaged and hostile datasets, weights, scenes and checkpoints are refused in one line, and never run."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from refusals import refused
from torch import nn

from threestudio_like.data import transforms
from threestudio_like.priors import weights
from threestudio_like.run import scenes
from threestudio_like.run.checkpoints import AtomicCheckpointIO
from threestudio_like.run.errors import UserError

Make = Callable[[Path], object]


def put(path: Path, content: bytes | str | Make) -> Path:
    if callable(content):
        content(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# posed pictures
EYE = [[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1]]


def pose(row: int, column: int, value: object) -> list[list[object]]:
    return [[value if (r, c) == (row, column) else EYE[r][c] for c in range(4)] for r in range(4)]


DATASETS: dict[str, tuple[object, str]] = {
    "no frames": ({"camera_angle_x": 0.8}, "is not a list of frames"),
    "zero frames": ({"camera_angle_x": 0.8, "frames": []}, "has no frames"),
    "frames of words": ({"camera_angle_x": 0.8, "frames": ["a"]}, "is not a list of frames"),
    "a list": ([1, 2], "is not a list of frames (expected 'frames': a list, and in it"),
    "not JSON": ("{", "is not a list of frames"),
    "deep": ("[" * 100_000, "is not a list of frames (too many brackets in each other)"),
    "no lens": ({"frames": None}, "is not a list of frames"),
    "lens nan": ({"camera_angle_x": float("nan")}, "has no positive focal length, or is not finite"),
    "lens zero": ({"camera_angle_x": 0.0}, "the pose or lens of 'a' cannot be read"),
    "lens behind": ({"camera_angle_x": -0.8}, "has no positive focal length"),
    "lens text": ({"camera_angle_x": "wide"}, "camera_angle_x must be a number, got 'wide'"),
    "focal zero": ({"fl_x": 0.0}, ""),
    "no width": (
        {"fl_x": 40.0, "w": 0},
        "the pose or lens of 'a' cannot be read (a number is 0 or too large)",
    ),
    "other sides": ({"w": 99, "h": 3}, "w and h are 99 and 3, the picture's sides 8 and 8"),
    "lens true": ({"camera_angle_x": True}, "camera_angle_x must be a number, got True"),
    "focal true": ({"fl_x": True}, "fl_x must be a number, got True"),
    "focal huge": ({"fl_x": 10**400}, "a number is 0 or too large"),
    "path number": ({"file_path": 3}, "file_path of a frame must be a text, got 3"),
    "mask number": ({"mask_path": None}, "mask_path of a frame must be a text, got None"),
    "distorted": ({"camera_angle_x": 0.8, "k1": 0.1}, "lens distortion (k1)"),
    "no pose": ({"transform_matrix": None}, "transform_matrix must be 4 rows of 4 numbers"),
    "pose 3 x 4": ({"transform_matrix": EYE[:3]}, "transform_matrix of 'a' is (3, 4), expected 4 x 4"),
    "ragged": ({"transform_matrix": [[1], [1, 2]]}, "the pose or lens of 'a' cannot be read"),
    "pose of words": ({"transform_matrix": "here"}, "the pose or lens of 'a' cannot be read"),
    "pose nan": ({"transform_matrix": pose(0, 3, float("nan"))}, "has a number that is not finite"),
    "pose inf": ({"transform_matrix": pose(0, 0, float("inf"))}, "has a number that is not finite"),
    "stretched": ({"transform_matrix": pose(0, 0, 2.0)}, "is no rotation with a place"),
    "mirrored": ({"transform_matrix": pose(0, 0, -1.0)}, "is no rotation with a place"),
    "zeros": ({"transform_matrix": [[0.0] * 4] * 4}, "is no rotation with a place"),
    "perspective": ({"transform_matrix": pose(3, 0, 1.0)}, "is no rotation with a place"),
    "no picture": ({"file_path": "gone"}, "no picture 'gone'"),
    "picture damaged": ({"file_path": "words.png"}, "is not a picture"),
    "picture too large": ({"file_path": "large.pbm"}, "is too large; expected at most 100 megapixels"),
    "picture opaque": ({"file_path": "opaque.png"}, "has no alpha; cut the object out"),
    "mask gone": ({"mask_path": "gone.png"}, "no picture 'gone.png'"),
    "mask small": ({"mask_path": "small.png"}, "has another size than the picture"),
}


@pytest.mark.parametrize("name", DATASETS)
def test_bad_posed_pictures(tmp_path: Path, name: str) -> None:
    change, words = DATASETS[name]
    Image.new("RGBA", (8, 8), (255, 0, 0, 100)).save(tmp_path / "a.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "opaque.png")
    Image.new("L", (2, 2)).save(tmp_path / "small.png")
    put(tmp_path / "words.png", b"hello")
    put(tmp_path / "large.pbm", b"P4 20000 20000\n")
    frame = {"file_path": "a", "transform_matrix": EYE}
    if isinstance(change, dict) and "frames" not in change and name != "no frames":
        lens = {"camera_angle_x": 0.8} if not {"fl_x", "camera_angle_x"} & set(change) else {}
        change = {**lens, "frames": [{**frame, **change}] * 2}
    put(tmp_path / "transforms.json", change if isinstance(change, str) else json.dumps(change))
    with pytest.raises(ValueError) as caught:
        transforms.read(tmp_path, 8)
    line = str(caught.value)
    assert line.startswith("dataset: ") and words in line and "\n" not in line, line
    assert "Error(" not in line  # Python's own words


# weights, scenes and checkpoints
class Trap:
    """Leaves a folder behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def trapped(path: Path) -> None:
    torch.save({"0.weight": torch.zeros(2, 3), "trap": Trap(path.parent / "sprung")}, path)


def kept(module: nn.Module) -> Make:
    def make(path: Path) -> None:
        weights.save(module, path.with_suffix(""), {})

    return make


def cut_short(path: Path) -> None:
    kept(nn.Sequential(nn.Linear(3, 2)))(path)
    path.write_bytes(path.read_bytes()[:-5])


WEIGHTS: dict[str, tuple[bytes | Make, str]] = {
    "empty.safetensors": (b"", "is not a safetensors file"),
    "words.safetensors": (b"hello, world", "is not a safetensors file"),
    "long.safetensors": (struct.pack("<Q", 2**60) + b"{}", "is not a safetensors file"),
    "header.safetensors": (struct.pack("<Q", 4) + b"{{{{", "is not a safetensors file"),
    "half.safetensors": (cut_short, "is not a safetensors file"),
    "pickle.safetensors": (trapped, "is not a safetensors file"),
    "folder.safetensors": (Path.mkdir, "no file"),
    "missing.safetensors": (lambda path: None, "no file"),
    "wide.safetensors": (kept(nn.Sequential(nn.Linear(4, 2))), "'0.weight' is 2 x 4, expected 2 x 3"),
    "bare.safetensors": (kept(nn.Sequential(nn.Linear(3, 2, bias=False))), "it lacks '0.bias'"),
    "more.safetensors": (kept(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))), "it has '1.bias' besides"),
    "other.safetensors": (kept(nn.ModuleDict({"a": nn.Linear(3, 2)})), "it lacks '0.weight'"),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_bad_weights(tmp_path: Path, name: str) -> None:
    path = put(tmp_path / name, WEIGHTS[name][0])
    network = nn.Sequential(nn.Linear(3, 2))
    before = [tensor.clone() for tensor in network.state_dict().values()]
    refused(lambda file: weights.load(network, str(file)), path, WEIGHTS[name][1])
    assert not (tmp_path / "sprung").exists()
    assert all(map(torch.equal, before, network.state_dict().values()))


CARDS = {"no": (None, "is missing"), "words": ("hello", "is not JSON"), "list": ("[1]", "is no card")}


@pytest.mark.parametrize("name", CARDS)
def test_a_bad_card(tmp_path: Path, name: str) -> None:
    content, words = CARDS[name]
    put(tmp_path / "net.safetensors", b"")
    if content is not None:
        put(tmp_path / "net.json", content)
    refused(lambda file: weights.card(str(file.with_suffix(".safetensors"))), tmp_path / "net.json", words)


LINEAR = "geometry: {_target_: torch.nn.Linear, in_features: 3, out_features: 2}\n"
EMPTY = "material: {_target_: torch.nn.Identity}\nbackground: {_target_: torch.nn.Identity}\n"
SCENE = f"_target_: threestudio_like.scene.Scene\n{LINEAR}{EMPTY}"
CODE = "geometry: {_target_: os.mkdir, path: sprung}\n"
SCENES: dict[str, tuple[str, bytes | Make, str]] = {
    "not YAML": ("a: [", b"", "scene.yaml cannot be read"),
    "a list": ("- 1", b"", "scene.yaml is not the configuration"),
    "code": (SCENE.replace(LINEAR, CODE), b"", "scene.yaml.geometry._target_: 'os.mkdir' is Python's own"),
    "code by another name": (SCENE.replace("torch.nn.Identity", "torch.os.getcwd"), b"", "is Python's own"),
    "no scene": ("_target_: torch.nn.Identity", b"", "expected Scene, got a Identity"),
    "no class": (SCENE.replace("Linear", "Liner"), b"", "no class 'torch.nn.Liner'; did you mean 'Linear'?"),
    "a part less": (SCENE.replace(LINEAR, ""), b"", "scene.yaml.geometry: required by Scene, not set"),
    "empty": (SCENE, b"", "scene.safetensors cannot be read"),
    "pickle": (SCENE, trapped, "scene.safetensors cannot be read"),
    "a folder": (SCENE, Path.mkdir, "scene.safetensors cannot be read"),
    "nothing": (SCENE, lambda path: None, "scene.safetensors cannot be read"),
    "another": (
        SCENE,
        kept(nn.Linear(3, 2)),
        "is not of the scene in scene.yaml: it lacks 'geometry.weight'",
    ),
}


@pytest.mark.parametrize("name", SCENES)
def test_a_bad_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    text, content, words = SCENES[name]
    put(tmp_path / "scene.yaml", text)
    put(tmp_path / "scene.safetensors", content)
    with pytest.raises(UserError) as caught:
        scenes.load(tmp_path)
    assert words in str(caught.value) and "\n" not in str(caught.value), str(caught.value)
    assert not (tmp_path / "sprung").exists()


CHECKPOINTS: dict[str, bytes | Make] = {
    "empty": b"",
    "words": b"hello",
    "pickled code": trapped,
    "a folder": Path.mkdir,
    "nothing": lambda path: None,
    "numbers": lambda path: torch.save([1, 2], path),
    "weights alone": lambda path: torch.save({"0.weight": torch.zeros(2, 3)}, path),
    "zip": b"PK\x03\x04" + bytes(100),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_bad_checkpoint(tmp_path: Path, name: str) -> None:
    path = put(tmp_path / "last.ckpt", CHECKPOINTS[name])
    refused(
        lambda file: AtomicCheckpointIO().load_checkpoint(file, weights_only=True),
        path,
        "not a whole checkpoint",
    )
    assert not (tmp_path / "sprung").exists()


TABLES = {"dataset": DATASETS, "weights": WEIGHTS, "card": CARDS, "scene": SCENES, "checkpoint": CHECKPOINTS}
CASES = [f"{kind}: {name}" for kind, table in TABLES.items() for name in table]
