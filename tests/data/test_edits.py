"""Edits of whole things: the asked attribute changes, the rest stays."""

import numpy as np
import pytest
import torch

from threestudio_like.data import shapes
from threestudio_like.data.album import Cameras, camera
from threestudio_like.data.draw import Light
from threestudio_like.data.edits import (
    COLORS,
    OBJECT_KINDS,
    SIZES,
    Look,
    Thing,
    add,
    colour,
    edit,
    framed,
    light,
    nearest_hues,
    remove,
    replace,
    seen,
    size,
    tint,
)

LIGHT = Light(direction=[0.6, 0.0, 0.8], ambient=0.4, diffuse=0.6)


def thing(*hues: str) -> Thing:
    """Balls of these hues in a row."""
    parts = []
    for i, hue in enumerate(hues):
        part = shapes.primitive("sphere", hue, np.full(3, 0.2), torch.eye(3))
        parts.append(part._replace(center=torch.tensor([0.0, 0.4 * i, 0.0])))
    return Thing("balls", "balls", Look("balls", shapes.mesh(shapes.Shape("", tuple(parts))), LIGHT), None)


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def test_recoloured_vertices_have_the_hue_and_nothing_else_moves():
    before, changes = colour(rng(), thing("red", "white"))
    for change in changes:
        after = change.look()
        assert {list(COLORS)[i] for i in nearest_hues(after.mesh)} == {change.words["hue"]}
        assert torch.equal(after.mesh.vertices, before.mesh.vertices)


def test_tint_changes_only_what_is_of_the_old_hue():
    before, changes = tint(rng(), thing("red", "white", "white"))
    old = next(word for word in changes[0].words["the"].split() if word in COLORS)
    was = nearest_hues(before.mesh) == list(COLORS).index(old)
    after = changes[0].look()
    assert was.any() and not was.all()
    assert torch.equal(after.mesh.rgb[~was], before.mesh.rgb[~was])
    assert (after.mesh.rgb[was] != before.mesh.rgb[was]).any(1).all()
    assert len(changes) == len(COLORS) - 1


def test_one_hue_has_no_part_of_another():
    assert tint(rng(), thing("red"))[1] == []


def test_sizes():
    before, changes = size(rng(), thing("red", "blue"))
    extent = before.mesh.vertices.amax(0) - before.mesh.vertices.amin(0)
    for change in changes:
        mesh = change.look().mesh
        factors = (mesh.vertices.amax(0) - mesh.vertices.amin(0)) / extent
        torch.testing.assert_close(factors, torch.tensor(SIZES[change.words["more"]]))


def test_what_is_put_in_its_place_fills_its_box():
    before, changes = replace(rng(), thing("red", "blue"))
    assert sorted(change.words["a"] for change in changes) == ["a box", "a capsule", "a cylinder", "a sphere"]
    look = next(change.look() for change in changes if change.words["a"] == "a box")
    for mesh in (before.mesh, look.mesh):
        corners = torch.stack(mesh.vertices.aminmax(dim=0))
        torch.testing.assert_close(corners, torch.stack(before.mesh.vertices.aminmax(dim=0)))
    torch.testing.assert_close(look.mesh.rgb, before.mesh.rgb.mean(0).expand_as(look.mesh.rgb))


@pytest.mark.parametrize("seed", range(6))
def test_what_is_added_touches_and_what_is_removed_was_there(seed):
    plain = thing("red", "blue")
    before, changes = add(np.random.default_rng(seed), plain)
    mesh, count = changes[0].look().mesh, len(before.mesh.vertices)
    old, new = mesh.vertices[:count], mesh.vertices[count:]
    assert torch.equal(old, before.mesh.vertices)
    above = "on top" in changes[0].words["place"]
    assert new[:, 2].min() < old[:, 2].max() < new[:, 2].max() if above else new[:, 2].min() < old[:, 2].min()
    assert new[:, 2].max() > old[:, 2].min()  # no gap underneath either
    larger, (change,) = remove(np.random.default_rng(seed), plain)
    assert len(larger.mesh.vertices) > count and change.look() is plain.before


def test_framed_as_one():
    small, large = thing("red").before, thing("red", "blue", "green").before
    one, other, third = framed([small, large, small])
    corners = torch.stack(other.mesh.vertices.aminmax(dim=0))
    torch.testing.assert_close(corners.mean(0), torch.zeros(3))
    torch.testing.assert_close((corners[1] - corners[0]).max(), torch.tensor(1.0))
    assert torch.equal(one.mesh.vertices, third.mesh.vertices)
    scale = 1 / (large.mesh.vertices.amax(0) - large.mesh.vertices.amin(0)).max()
    moved = one.mesh.vertices - small.mesh.vertices * scale
    torch.testing.assert_close(moved, moved[:1].expand_as(moved))


def test_the_lamp_is_where_the_camera_sees_it():
    """From any side, what is lit from the left is brighter on the left of the picture."""
    cameras = Cameras(fov_y=49.134, distance=[1.6, 1.6], elevation=[0.0, 1.0], size=32)
    place = camera(torch.tensor([[0.0, 0.0, 1.6], [2.0, 0.3, 1.6]]), cameras)
    before, changes = light(rng(), thing("white"))
    for change in changes:
        view = seen(change.look(), place)
        grey = (view.rgb * view.alpha).mean(-1)
        left, right = grey[:, :, :16].sum((1, 2)), grey[:, :, 16:].sum((1, 2))
        above, below = grey[:, :16].sum((1, 2)), grey[:, 16:].sum((1, 2))
        ratios = {"left": left / right, "right": right / left, "above": above / below, "below": below / above}
        where = change.words["lamp"].split()[-1]
        if where in ratios:
            assert (ratios[where] > 1.5).all(), where
    assert torch.equal(seen(before, place).alpha, view.alpha)


def test_an_edit_is_a_function_of_its_numbers_and_follows_the_weights():
    one, other = (
        edit(
            np.random.default_rng([3, i]),
            thing("red", "blue"),
            OBJECT_KINDS,
            {"add": 1, "size": 1},
            rivals=True,
        )
        for i in (5, 5)
    )
    assert one.instruction == other.instruction and one.kind == other.kind
    assert torch.equal(one.after.mesh.vertices, other.after.mesh.vertices)
    assert len(one.rivals) == {"add": 11, "size": 3}[one.kind]
    kinds = [
        edit(
            np.random.default_rng(i), thing("red", "blue"), OBJECT_KINDS, {"add": 3, "dim": 1}, rivals=False
        ).kind
        for i in range(200)
    ]
    assert 120 < kinds.count("add") < 180 and kinds.count("add") + kinds.count("dim") == 200


def test_kinds_that_do_not_apply_are_passed_over():
    made = edit(rng(), thing("red"), OBJECT_KINDS, {"part": 100, "dim": 0.001}, rivals=False)
    assert made.kind == "dim" and made.rivals == []
    with pytest.raises(ValueError, match="none of part"):
        edit(rng(), thing("red"), OBJECT_KINDS, {"part": 1}, rivals=False)
