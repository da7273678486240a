"""Datasets written by hand, in both layouts, read back; their mistakes."""

import json
import math

import pytest
import torch
from PIL import Image

from threestudio_like.data.cameras import Pose
from threestudio_like.data.draw import Light
from threestudio_like.data.posed import Cameras, PosedViews
from threestudio_like.data.transforms import read
from threestudio_like.ops.camera import rays

SIDE = 48


def photographs(count: int) -> PosedViews:
    data = PosedViews(
        object="shapes/capsule",
        dataset=None,
        cameras=Cameras(train=count, test=2, elevation=[-60.0, 60.0], distance=2.0, fov_y=45.0),
        light=Light([0.6, 0.0, 0.8], 0.4, 0.6),
        pose=Pose(0.0, 0.0, 2.0, 45.0),
        size=SIDE,
        batch_size=2,
        window=None,
        focus=0.5,
        seed=0,
    )
    return data


def saved(folder, part, view, *, scale=1.0, offset=(0.0, 0.0, 0.0)):
    """Pictures and frames; the world enlarged by `scale`, then moved."""
    (folder / part).mkdir(parents=True)
    frames = []
    for i in range(len(view.rgb)):
        pixels = torch.cat([view.rgb[i], view.alpha[i]], dim=-1)
        Image.fromarray((pixels * 255).round().byte().numpy()).save(folder / part / f"r_{i}.png")
        c2w = view.camera.c2w[i].clone()
        c2w[:3, 3] = c2w[:3, 3] * scale + torch.tensor(offset)
        frames.append({"file_path": f"./{part}/r_{i}", "transform_matrix": c2w.tolist()})
    return frames


@pytest.fixture(scope="module")
def views():
    return photographs(9).views


def test_nerf_synthetic_in_a_world_of_its_own(tmp_path, views):
    for part, view in zip(("train", "test"), views, strict=True):
        frames = saved(tmp_path, part, view, scale=2.5, offset=(0.3, -1.0, 2.0))
        text = json.dumps({"camera_angle_x": math.radians(45), "frames": frames})
        (tmp_path / f"transforms_{part}.json").write_text(text)
    for found, given in zip(read(tmp_path, SIDE), views, strict=True):
        torch.testing.assert_close(found.alpha, given.alpha, atol=3e-3, rtol=0)
        torch.testing.assert_close(found.camera.fov_y, given.camera.fov_y)
        # back in the unit box, as well as silhouettes of few pixels tell
        torch.testing.assert_close(found.camera.c2w[:, :3, :3], given.camera.c2w[:, :3, :3])
        torch.testing.assert_close(found.camera.c2w[:, :3, 3], given.camera.c2w[:, :3, 3], atol=0.12, rtol=0)


def test_nerfstudio_with_a_lens_of_its_own_and_masks(tmp_path, views):
    """A crop off the middle, stretched sideways, is undone by the intrinsics."""
    seen, top, left, height, width = views[0], 4, 10, 40, 30
    frames = saved(tmp_path, "images", seen)
    for i, frame in enumerate(frames):
        picture = Image.open(tmp_path / "images" / f"r_{i}.png").crop((left, top, left + width, top + height))
        picture = picture.resize((2 * width, height), Image.Resampling.NEAREST)
        picture.convert("RGB").save(tmp_path / "images" / f"r_{i}.png")
        picture.getchannel("A").save(tmp_path / "images" / f"m_{i}.png")
        frame["file_path"] += ".png"
        frame["mask_path"] = f"images/m_{i}.png"
    focal = 0.5 * SIDE / math.tan(math.radians(22.5))
    lens = {"fl_x": 2 * focal, "fl_y": focal, "cx": 2 * (SIDE / 2 - left), "cy": SIDE / 2 - top}
    lens |= {"w": 2 * width, "h": height, "k1": 0.0}
    (tmp_path / "transforms.json").write_text(json.dumps({**lens, "frames": frames}))
    train, test = read(tmp_path, 40)
    assert (len(train.rgb), len(test.rgb)) == (7, 2)  # the first and the ninth are held out
    assert train.rgb.shape[1:3] == (height, width)
    expected = seen.alpha[1:8, top : top + height, left : left + width]
    torch.testing.assert_close(train.alpha, expected, atol=3e-3, rtol=0)
    directions = rays(seen.camera).directions[1:8, top : top + height, left : left + width]
    torch.testing.assert_close(rays(train.camera).directions, directions)


def test_pictures_become_smaller_and_never_larger(tmp_path, views):
    frames = saved(tmp_path, "images", views[0])
    text = json.dumps({"camera_angle_x": math.radians(45), "frames": frames})
    (tmp_path / "transforms.json").write_text(text)
    small, same = read(tmp_path, 16)[0], read(tmp_path, 100)[0]
    assert small.rgb.shape[1:3] == (16, 16) and same.rgb.shape[1:3] == (SIDE, SIDE)
    torch.testing.assert_close(small.camera.fov_y, same.camera.fov_y)
    means = same.alpha.view(7, 16, 3, 16, 3, 1).mean((2, 4))
    torch.testing.assert_close(small.alpha, means, atol=1e-5, rtol=0)


def mistaken(frames, change):
    tree = {"camera_angle_x": 0.8, "frames": frames}
    if change == "distortion":
        tree["k1"] = 0.1
    if change == "lens":
        del tree["camera_angle_x"]
    if change == "pose":
        frames[1]["transform_matrix"] = [[1.0]]
    if change == "picture":
        frames[0]["file_path"] = "none"
    if change == "frames":
        del tree["frames"]
    if change == "few":
        del frames[1:]
    return tree


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("distortion", r"lens distortion \(k1\)"),
        ("lens", r"the pose or lens of .* cannot be read"),
        ("pose", r"transform_matrix of .* is \(1, 1\)"),
        ("picture", "no picture 'none'"),
        ("frames", "is not a list of frames"),
        ("few", "1 pictures"),
        ("opaque", "has no alpha; cut the object out"),
        ("none", "neither transforms.json nor"),
    ],
)
def test_mistakes_are_one_line(tmp_path, views, change, message):
    frames = saved(tmp_path, "images", views[0])
    if change == "opaque":
        Image.new("RGB", (SIDE, SIDE)).save(tmp_path / "images" / "r_0.png")
    if change != "none":
        (tmp_path / "transforms.json").write_text(json.dumps(mistaken(frames, change)))
    with pytest.raises(ValueError, match=message) as raised:
        read(tmp_path, SIDE)
    assert str(raised.value).startswith("dataset: ") and "\n" not in str(raised.value)
