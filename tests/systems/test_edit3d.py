"""Editing a scene: the dataset turns into edits, the scene follows it, and a checkpoint has both."""

import math

import pytest
import torch
from torch import nn

from systems.base import Optimization
from systems.edit3d import Edit3D, Update
from threestudio_like.ops.camera import orbit
from threestudio_like.records import Posed, Render, View
from threestudio_like.scene import Scene
from threestudio_like.schedule.anneal import constant

BLUE = torch.tensor([0.1, 0.2, 0.9, 1.0])


class Painter(nn.Module):
    """Every picture in one colour; remembers what it was shown, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, float]] = []

    def forward(self, image, original, instruction, step):
        assert instruction == "make it blue" and image.shape == original.rgba.shape
        self.asked.append((step, float(image[..., 0].mean())))
        return BLUE.expand_as(image)


class Wall(nn.Module):
    """One colour, wherever one looks."""

    def __init__(self) -> None:
        super().__init__()
        self.rgb = nn.Parameter(torch.tensor([0.9, 0.1, 0.1]))


class Looking(nn.Module):
    """Shows the wall."""

    def forward(self, scene, camera, step):
        shape = (len(camera.c2w), camera.height, camera.width)
        flat = torch.zeros(*shape, 1)
        return Render(
            scene.geometry.rgb.expand(*shape, 3), torch.ones(*shape, 1), flat, flat.expand(*shape, 3)
        )


def system(instruction: str = "make it blue", every: int = 5) -> Edit3D:
    weights = {"rgb": 0.0, "squared": 1.0, "structure": 0.0, "mask": 0.0}
    return Edit3D(
        scene=Scene(geometry=Wall(), material=nn.Identity(), background=nn.Identity()),
        renderer=Looking(),
        editor=Painter(),
        instruction=instruction,
        update=Update(every=every, pictures=2, fitted=3),
        pace=constant(value=1.0),
        seed=0,
        weights=weights,
        optimization=Optimization(torch.optim.Adam, {"scene": 0.05}),
        draw_every=100,
    )


@pytest.fixture
def red() -> View:
    """Six pictures of a red wall."""
    camera = orbit(
        azimuth=torch.arange(6.0),
        elevation=torch.zeros(6),
        distance=torch.full((6,), 2.0),
        fov_y=torch.full((6,), math.radians(45)),
        height=12,
        width=12,
    )
    return View(camera, torch.tensor([0.9, 0.1, 0.1]).expand(6, 12, 12, 3), torch.ones(6, 12, 12, 1))


def trained(made: Edit3D, view: View, steps: int) -> None:
    made.take(view)
    optimizer = torch.optim.Adam(made.scene.parameters(), lr=0.05)
    for step in range(steps):
        torch.manual_seed(step)
        losses = made.compute(Posed(step, view, view))
        assert set(losses) == {"squared"}
        optimizer.zero_grad()
        losses["squared"].backward()
        optimizer.step()


def test_a_few_pictures_are_replaced_at_a_time(red):
    made = system()
    trained(made, red, 1)
    edited = (made.dataset == BLUE).all(-1).flatten(1).all(1)
    assert int(edited.sum()) == 2
    assert torch.equal(made.dataset[~edited], red.rgba[~edited])


def test_the_scene_becomes_what_the_edits_agree_on(red):
    made = system()
    trained(made, red, 150)
    torch.testing.assert_close(made.scene.geometry.rgb.detach(), BLUE[:3], atol=0.03, rtol=0)
    steps, shown = zip(*made.editor.asked, strict=True)
    assert list(steps) == list(range(0, 150, 5))
    assert shown[0] == pytest.approx(0.9) and shown[-1] < 0.3  # edits begin from what the scene shows by then
    assert torch.equal(made.original.rgba, red.rgba)


def test_a_checkpoint_has_the_dataset(red):
    made, other = system(), system()
    trained(made, red, 12)
    other.take(red)
    other.load_state_dict(made.state_dict())
    assert torch.equal(other.dataset, made.dataset) and not torch.equal(made.dataset, red.rgba)


def test_pictures_and_measures(red):
    made = system()
    trained(made, red, 1)
    with torch.no_grad():
        assert made.pictures(Posed(0, red, red))["edit"].shape == (3 * 12, 4 * 12, 3)
