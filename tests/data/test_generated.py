"""Pairs in a folder: written, read back, and given beside the drawn ones."""

import json
from types import SimpleNamespace

import pytest
import torch

from threestudio_like.data import generated
from threestudio_like.data.album import Cameras
from threestudio_like.data.draw import Light
from threestudio_like.data.generated import Generated, Pair
from threestudio_like.data.objects import held_out
from threestudio_like.data.shapes import Shapes

KEPT = next(f"cup {i}" for i in range(100) if held_out(f"cup {i}"))


@pytest.fixture
def folder(tmp_path):
    """Three pairs of plain colours, one of them of a held-out name."""
    pairs = []
    for i, name in enumerate(["cup", "chair", KEPT]):
        before, after = (torch.full((16, 16, 4), value) for value in (0.2 * i, 0.2 * i + 0.4))
        pairs.append(Pair(name, f"edit the {name}", before, after, {"share": 0.5}))
    lines = generated.write(tmp_path / "pairs", pairs[:2], 0)
    lines += generated.write(tmp_path / "pairs", pairs[2:], len(lines))
    generated.index(tmp_path / "pairs", lines)
    return tmp_path / "pairs"


def data(folder, **changes) -> Generated:
    settings = {
        "generated": 0.5,
        "share": 0,
        "views": 2,
        "batch_size": 8,
        "validation": 4,
        "size": 16,
        **changes,
    }
    size = settings.pop("size")
    return Generated(
        path=str(folder),
        source=Shapes(count=1, seed=3),
        kinds={"part": 1, "remove": 1},
        cameras=Cameras(fov_y=49.134, distance=[1.4, 1.9], elevation=[-10.0, 60.0], size=size),
        light=Light(direction=[0.6, 0.0, 0.8], ambient=0.4, diffuse=0.6),
        seed=0,
        **settings,
    )


def test_what_is_written_is_read(folder):
    pairs = generated.read(folder)
    assert [pair.instruction for pair in pairs] == ["edit the cup", "edit the chair", f"edit the {KEPT}"]
    for i, pair in enumerate(pairs):
        assert (pair.before - 0.2 * i).abs().max() < 3e-3 and (pair.after - 0.2 * i - 0.4).abs().max() < 3e-3
    assert json.loads((folder / "pairs.json").read_text())[0]["share"] == 0.5


def test_half_of_a_batch_and_never_a_held_out_name(folder):
    made = data(folder)
    made.trainer = SimpleNamespace(world_size=1, accumulate_grad_batches=1)
    drawn = {"cup": 0, "chair": 0}
    for step in range(4):
        batch = made.training_example(step, 0)
        assert batch.target.rgb.shape == batch.reference.rgb.shape == (8, 16, 16, 3)
        assert len(batch.target.camera.c2w) == len(batch.prompts) == 8
        assert not any(prompt.startswith("edit the") for prompt in batch.prompts[:4])
        for i, prompt in enumerate(batch.prompts[4:], 4):
            drawn[prompt.removeprefix("edit the ")] += 1
            value = 0.2 * ("chair" in prompt)
            assert (batch.reference.rgb[i] - value).abs().max() < 3e-3
            assert (batch.target.alpha[i] - value - 0.4).abs().max() < 3e-3
    assert min(drawn.values()) > 2
    again = made.training_example(3, 0)
    assert again.prompts == batch.prompts and torch.equal(again.target.rgb, batch.target.rgb)
    assert not any("edit the" in prompt for each in made.val_dataloader() for prompt in each.prompts)


def test_mistakes(folder, tmp_path):
    with pytest.raises(ValueError, match=r"no pairs.json in"):
        data(tmp_path)
    with pytest.raises(ValueError, match=r"cameras.size: must be 16"):
        data(folder, size=32)
    with pytest.raises(ValueError, match="generated: 0"):
        data(folder, generated=0.0)
    (folder / "000001-after.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"pairs.json is damaged"):
        data(folder)
    (folder / "pairs.json").write_text("[]")
    with pytest.raises(ValueError, match="none of the 0 pairs"):
        data(folder)
