"""Pairs before and after: split by name, the same for the same numbers, alike where nothing is to change."""

from types import SimpleNamespace

import pytest
import torch

from threestudio_like.data.album import Cameras
from threestudio_like.data.draw import Light
from threestudio_like.data.objects import held_out
from threestudio_like.data.pairs import Pairs
from threestudio_like.data.shapes import Shapes

KINDS = {"colour": 1, "part": 1, "replace": 1, "add": 1, "remove": 1, "light": 1}


def pairs(**changes) -> Pairs:
    settings = {"share": 0.5, "kinds": KINDS, "views": 2, "batch_size": 8, "validation": 12, "seed": 0}
    settings |= {"source": Shapes(count=40, seed=3), **changes}
    cameras = Cameras(fov_y=49.134, distance=[1.4, 1.9], elevation=[-10.0, 60.0], size=16)
    light = Light(direction=[0.6, 0.0, 0.8], ambient=0.4, diffuse=0.6)
    return Pairs(cameras=cameras, light=light, **settings)


@pytest.mark.parametrize("kept", [False, True])
def test_names_stay_on_their_side_of_the_split(kept):
    data = pairs()
    assert {held_out(data.pair(i, kept=kept).edit.name) for i in range(40)} == {kept}


def test_an_example_is_a_function_of_its_numbers():
    one, other = (pairs().example(3, 12, 8, kept=False) for _ in range(2))
    assert one.prompts == other.prompts
    assert torch.equal(one.target.rgb, other.target.rgb)
    assert torch.equal(one.reference.camera.c2w, one.target.camera.c2w)
    assert one.prompts != pairs(seed=1).example(3, 12, 8, kept=False).prompts
    assert one.prompts[0] == one.prompts[1] != one.prompts[2]  # two views of each


def test_ranks_and_steps_see_different_edits():
    data = pairs(batch_size=4)
    data.trainer = SimpleNamespace(world_size=2, accumulate_grad_batches=1)
    firsts = [data.training_example(step, rank).prompts[::2] for step in range(2) for rank in range(2)]
    indices = [[data.pair(2 * i + j, kept=False).edit.instruction for j in range(2)] for i in range(4)]
    assert firsts == indices


def test_recolouring_changes_no_outline():
    example = pairs(kinds={"colour": 1}).example(0, 0, 16, kept=False)
    assert torch.equal(example.target.alpha, example.reference.alpha)
    assert (example.target.rgba - example.reference.rgba).abs().amax((1, 2, 3)).min() > 0.05


def test_every_camera_sees_that_something_changed():
    data = pairs(kinds={"part": 1, "add": 1, "remove": 1})
    for i in range(60):
        pair = data.pair(i, kept=False)
        assert (pair.before.rgba - pair.after.rgba).abs().amax((1, 2, 3)).min() > 0.02


def test_validation():
    data = pairs()
    batches = list(data.val_dataloader())
    assert [len(batch.prompts) for batch in batches] == [8, 4]
    assert len({prompt for batch in batches for prompt in batch.prompts}) == 6


def test_no_objects_are_read_where_none_are_shared():
    class Never:
        def load(self):
            raise AssertionError

        def fingerprint(self):
            return ""

    assert pairs(source=Never(), share=0).pair(0, kept=False).edit.name.endswith("nose")


def test_mistakes():
    with pytest.raises(ValueError, match="kinds.colr: no such kind"):
        pairs(kinds={"colr": 1})
    with pytest.raises(ValueError, match="views: 3"):
        pairs(views=3)
