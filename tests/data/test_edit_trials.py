"""Questions: of held-out names, visible, with rivals that differ from the answer."""

from types import SimpleNamespace

import pytest
import torch

from threestudio_like.data.album import Cameras
from threestudio_like.data.draw import Light
from threestudio_like.data.edit_trials import EditTrials
from threestudio_like.data.objects import held_out
from threestudio_like.data.pairs import Pairs
from threestudio_like.data.shapes import Shapes


def trials(**changes) -> EditTrials:
    pairs = Pairs(
        source=Shapes(count=1, seed=3),
        share=0,
        kinds={"part": 1, "remove": 1, "dim": 1},
        cameras=Cameras(fov_y=49.134, distance=[1.4, 1.9], elevation=[-10.0, 60.0], size=16),
        light=Light(direction=[0.6, 0.0, 0.8], ambient=0.4, diffuse=0.6),
        views=changes.pop("views", 1),
        batch_size=6,
        validation=6,
        seed=0,
    )
    return EditTrials(pairs=pairs, **{"tasks": 2, "visible": 0.02, **changes})


def test_questions():
    data = trials()
    one, again, other = data.question(0), trials().question(0), data.question(1)
    assert one.instructions == again.instructions and torch.equal(one.after.rgb, again.after.rgb)
    assert one.instructions != other.instructions
    assert all(held_out(name) for name in one.names) and len(one.names) == 6
    changed = (one.before.rgba - one.after.rgba).abs().amax(-1) > 0.02
    assert changed.float().mean((1, 2)).min() >= 0.02
    assert one.before.rgb.shape == (6, 16, 16, 3)
    most = {"part": 10, "dim": 1, "remove": 2}
    for kind, after, rivals in zip(one.kinds, one.after.rgba, one.rivals, strict=True):
        assert len(rivals) <= most[kind]
        assert len(rivals) == 0 or (rivals - after).abs().amax((1, 2, 3)).min() > 0.01


def test_mistakes():
    with pytest.raises(ValueError, match="pairs.views"):
        trials(views=2)
    data = trials()
    data.trainer = SimpleNamespace(max_steps=3, global_step=0)
    with pytest.raises(ValueError, match="must be 2, a step each"):
        data.train_dataloader()
