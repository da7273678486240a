"""Procedural shapes: distances against closed forms and brute force, meshes against the distances."""

import math

import pytest
import torch

from threestudio_like.data.shapes import (
    COLORS,
    DISTANCES,
    Part,
    Shape,
    Shapes,
    colors,
    distances,
    mesh,
    sdf,
    shape,
    surface,
)
from threestudio_like.ops.mesh import signed_volume

SIZES = {
    "box": (0.3, 0.2, 0.4),
    "sphere": (0.4,),
    "cylinder": (0.3, 0.4),
    "cone": (0.3, 0.4),
    "capsule": (0.2, 0.25),
    "torus": (0.3, 0.1),
}
VOLUMES = {
    "box": 0.3 * 0.2 * 0.4 * 8,
    "sphere": 4 / 3 * math.pi * 0.4**3,
    "cylinder": math.pi * 0.3**2 * 0.8,
    "cone": math.pi * 0.3**2 * 0.8 / 3,
    "capsule": 4 / 3 * math.pi * 0.2**3 + math.pi * 0.2**2 * 0.5,
    "torus": 2 * math.pi**2 * 0.3 * 0.1**2,
}


def single(kind: str) -> Shape:
    """One primitive, off centre and turned."""
    frame = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    return Shape(
        kind, (Part(kind, torch.tensor(SIZES[kind]), torch.tensor([0.05, 0.0, -0.02]), frame, torch.ones(3)),)
    )


@pytest.mark.parametrize("kind", DISTANCES)
def test_the_mesh_of_a_primitive_is_closed_outward_and_of_its_volume(kind):
    figure = mesh(single(kind))
    assert float(signed_volume(figure.vertices, figure.faces)) == pytest.approx(VOLUMES[kind], rel=0.02)
    assert torch.allclose(sdf(single(kind), figure.vertices), torch.zeros(1), atol=1e-6)


@pytest.mark.parametrize("kind", DISTANCES)
def test_distance_is_that_to_the_nearest_point_of_the_surface(kind):
    generator = torch.Generator().manual_seed(0)
    figure, points = mesh(single(kind)), torch.rand(300, 3, generator=generator) * 1.4 - 0.7
    weights = torch.rand(len(figure.faces), 40, 3, generator=generator)
    weights = weights / weights.sum(-1, keepdim=True)
    cloud = torch.einsum("fkc,fcd->fkd", weights, figure.vertices[figure.faces]).reshape(-1, 3)
    if kind == "box":  # twelve faces need more points
        u = torch.rand(20000, 2, generator=generator)
        u = torch.where((u.sum(-1) > 1)[:, None], 1 - u, u)
        a, b, c = figure.vertices[figure.faces[torch.arange(20000) % 12]].unbind(1)
        cloud = a + u[:, :1] * (b - a) + u[:, 1:] * (c - a)
    brute = torch.cdist(points, cloud).amin(-1)
    assert torch.allclose(sdf(single(kind), points)[:, 0].abs(), brute, atol=0.03)


@pytest.mark.parametrize("kind", DISTANCES)
def test_the_gradient_has_unit_length(kind):
    points = (torch.rand(200, 3, generator=torch.Generator().manual_seed(1)) - 0.5).requires_grad_()
    (gradient,) = torch.autograd.grad(sdf(single(kind), points).sum(), points)
    assert torch.allclose(gradient.norm(dim=-1), torch.ones(200), atol=1e-4)


def test_shapes_are_functions_of_their_index_normalised_with_a_front():
    for index in range(30):
        one = shape(0, index)
        assert one.caption == shape(0, index).caption
        figure = mesh(one)
        low, high = figure.vertices.amin(0), figure.vertices.amax(0)
        assert float((high - low).max()) == pytest.approx(1.0, abs=0.01)
        assert torch.allclose(low, -high, atol=0.01)
        assert 2 <= len(one.parts) <= 5
        nose = one.parts[-1]
        body = one.parts[0]
        assert nose.center[0] > body.center[0] and torch.allclose(nose.center[1:], body.center[1:], atol=1e-6)
        assert float(sdf(one, nose.center[None])) < 0
    assert len({shape(0, index).caption for index in range(30)}) > 25


def test_every_part_touches_the_body():
    for index in range(30):
        one = shape(1, index)
        for which in range(1, len(one.parts)):
            part = one.parts[which]
            towards = torch.linspace(0, 1, 50)[:, None] * one.parts[0].center
            axis = part.center * (1 - torch.linspace(0, 1, 50)[:, None]) + towards
            ring = mesh(Shape("", (part,))).vertices
            points = ring if part.kind == "torus" else axis[sdf(Shape("", (part,)), axis)[:, 0] < 0]
            assert float(distances(one, points)[:, 0].min()) < 0


def test_captions_name_the_parts_and_their_colours():
    one = shape(0, 0)
    for part in one.parts[:-1]:
        hue = min(COLORS, key=lambda name: float((torch.tensor(COLORS[name]) - part.rgb).norm()))
        assert f"{hue} {part.kind}" in one.caption
    assert one.caption.endswith("nose")


def test_the_surface_of_the_union_is_closed_and_coloured_by_part():
    one = shape(0, 3)
    figure = surface(one, 48)
    corners = figure.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    directed = corners[:, 0] * len(figure.vertices) + corners[:, 1]
    assert torch.equal(
        directed.sort().values, (corners[:, 1] * len(figure.vertices) + corners[:, 0]).sort().values
    )
    assert float(signed_volume(figure.vertices, figure.faces)) > 0
    assert float(sdf(one, figure.vertices).abs().max()) < 0.015
    assert torch.equal(figure.rgb, colors(one, figure.vertices))
    assert len(figure.rgb.unique(dim=0)) == len(one.parts)


def test_as_a_source_they_are_named_by_caption():
    source = Shapes(count=3, seed=0)
    assert [o.name for o in source.load()] == [shape(0, i).caption for i in range(3)]
    assert source.fingerprint() != Shapes(count=4, seed=0).fingerprint()
