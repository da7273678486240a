"""Lit pictures with depth and normals: they agree with what the rasteriser draws, mirrored or not."""

import numpy as np
import pytest
import torch

from threestudio_like.data.album import Cameras, Variety, camera, poses, relief, unpacked
from threestudio_like.data.draw import Light, draw
from threestudio_like.data.objects import held_out, normalized
from threestudio_like.data.shapes import Shapes, mesh, shape
from threestudio_like.data.shots import Lamps, Shots, mirrored, plainly, shaded
from threestudio_like.data.views import Augmentation
from threestudio_like.ops.camera import rays
from threestudio_like.records import Mesh, View

CAMERAS = Cameras(fov_y=49.134, distance=[1.4, 1.9], elevation=[-10.0, 60.0], size=32)
LIGHT = Light(direction=[0.6, 0.3, 0.7], ambient=0.4, diffuse=0.6)
LAMPS = Lamps(ambient=[0.2, 0.7], wrap=[1.0, 2.0], height=[0.0, 1.0], gloss=0.4)


@pytest.fixture
def figure() -> Mesh:
    made = mesh(shape(0, 4))
    return made._replace(vertices=normalized(made.vertices))


@pytest.fixture
def view(figure) -> View:
    """Three views of it, packed and unpacked."""
    seen = camera(poses(np.random.default_rng(0), 3, CAMERAS), CAMERAS)
    return unpacked(relief(figure, seen), seen)


def assert_same(one: View, other: View) -> None:
    inside = other.alpha[..., 0] > 0.9
    torch.testing.assert_close(one.alpha, other.alpha, atol=0.003, rtol=0)
    torch.testing.assert_close(one.depth[inside], other.depth[inside], atol=1e-3, rtol=0)
    assert ((one.normal * other.normal).sum(-1)[inside] > 0.999).all()
    assert (one.rgb - other.rgb)[inside].abs().mean() < 0.004


def test_a_relief_under_a_light_is_what_is_drawn(figure, view):
    assert_same(plainly(view, LIGHT), draw(figure, view.camera, LIGHT))


def test_nothing_is_told_of_empty_pixels(view):
    empty = view.alpha[..., 0] == 0
    assert empty.any() and (view.depth[empty] == 0).all() and (view.normal[empty] == 0).all()


def test_mirrored_views_show_the_mirrored_object(figure, view):
    flipped = torch.tensor([True, False, True])
    seen = plainly(mirrored(view, flipped), LIGHT)
    assert (torch.linalg.det(seen.camera.c2w[:, :3, :3]) > 0.999).all()
    twin = figure._replace(vertices=figure.vertices * torch.tensor([1.0, -1.0, 1.0]))
    both = [draw(twin if is_flipped else figure, seen.camera, LIGHT) for is_flipped in flipped]
    for i in range(3):
        one, other = (
            View(*(part[i : i + 1] if isinstance(part, torch.Tensor) else part for part in each))
            for each in (seen, both[i])
        )
        assert_same(one, other)


def test_lamps_change_colours_alone_and_light_from_everywhere_none(view):
    lit = shaded(view, np.random.default_rng(1), LAMPS)
    assert lit.normal is view.normal and (lit.rgb - view.rgb).abs().mean() > 0.01
    everywhere = Lamps(ambient=[1.0, 1.0], wrap=[1.0, 1.0], height=[0.5, 0.5], gloss=0.0)
    torch.testing.assert_close(shaded(view, np.random.default_rng(1), everywhere).rgb, view.rgb)


def test_a_highlight_is_where_the_lamp_is_reflected_to_the_camera(view):
    """A lamp overhead and a face halfway between it and the camera, on black."""
    towards = -rays(view.camera).directions
    half = torch.nn.functional.normalize(towards + torch.tensor([0.0, 0.0, 1.0]), dim=-1)
    black = view._replace(rgb=torch.zeros_like(view.rgb), normal=half)
    glossy = Lamps(ambient=[0.5, 0.5], wrap=[1.0, 1.0], height=[1.0, 1.0], gloss=0.4)
    lit = shaded(black, np.random.default_rng(0), glossy)
    strength = lit.rgb.flatten(1).mean(1)
    torch.testing.assert_close(lit.rgb.flatten(1), strength[:, None].expand(3, 32 * 32 * 3))
    assert strength.max() > 0.01 and strength.max() <= 0.4


@pytest.fixture(scope="module")
def shots(tmp_path_factory) -> Shots:
    made = Shots(
        source=Shapes(count=20, seed=3),
        cameras=CAMERAS,
        variety=Variety(variants=1, views=4, stretch=1.3, seed=0),
        light=LIGHT,
        lamps=LAMPS,
        augmentation=Augmentation(color=0.5, mirror=True),
        batch_size=6,
        validation=8,
        seed=0,
        cache=str(tmp_path_factory.mktemp("albums")),
    )
    made.prepare_data()
    made.setup("fit")
    return made


def test_an_example_is_a_function_of_its_step(shots):
    one, same, other = shots.example(3, 0), shots.example(3, 0), shots.example(4, 0)
    assert torch.equal(one.target.rgb, same.target.rgb)
    assert not torch.equal(one.target.rgb, other.target.rgb)


def test_held_out_names_are_validated_on_under_one_light(shots):
    examples = shots.validation_examples()
    assert [len(example.prompts) for example in examples] == [6, 2]
    assert all(held_out(name) for example in examples for name in example.prompts)
    assert not any(held_out(name) for step in range(5) for name in shots.example(step, 0).prompts)
