"""Tetrahedra are cut while they are trained: the surface and what the optimiser knows stay."""

import pytest
import torch
from grids import small_hashgrid
from torch import nn

from threestudio_like.geometry.convert import begin
from threestudio_like.geometry.subdivide import Subdivide
from threestudio_like.geometry.tetgrid import TetGrid
from threestudio_like.ops.mesh import signed_volume


def grid(**changes) -> TetGrid:
    encoding = small_hashgrid(num_levels=2, log2_table=8, finest_resolution=8)
    settings = {"radius": 0.75, "num_features": 3, "width": 8, "depth": 1, "resolution": 8}
    settings |= {"subdivisions": 0, "sphere_radius": 0.4, "frozen": False, "min_component": 0.0}
    return TetGrid(encoding=encoding, **settings | changes)


def holding(geometry: nn.Module) -> nn.Module:
    scene = nn.Module()
    scene.geometry = geometry
    return scene


def trained(geometry: TetGrid, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    geometry.mesh().vertices.square().sum().backward()
    optimizer.step()


def test_it_happens_after_its_step_and_moments_of_middles_are_means_of_their_ends():
    geometry, strategy = grid(), Subdivide(at=[3])
    optimizer = torch.optim.Adam([geometry.distance, geometry.deformation], lr=0.01)
    scene = holding(geometry)
    for step in (0, 1):
        trained(geometry, optimizer)
        strategy.after_step(scene, None, optimizer, step)
    assert geometry.level == 0
    trained(geometry, optimizer)
    before = {name: optimizer.state[getattr(geometry, name)] for name in ("distance", "deformation")}
    count, volume = len(geometry.distance), signed_volume(*geometry.mesh()[:2])
    edges = {tuple(sorted(pair)) for pair in geometry.edges.tolist()}
    places, distance = geometry.vertices().detach(), geometry.distance.detach()
    strategy.after_step(scene, None, optimizer, 2)
    assert geometry.level == 1 and len(geometry.distance) > count
    torch.testing.assert_close(signed_volume(*geometry.mesh()[:2]), volume, rtol=1e-4, atol=0)
    assert optimizer.param_groups[0]["params"] == [geometry.distance, geometry.deformation]
    new = len(geometry.distance) - 1  # one of the middles: find its ends by its place
    middles = {pair: places[list(pair)].mean(0) for pair in edges}
    ends = min(middles, key=lambda pair: (middles[pair] - geometry.vertices()[new]).norm().item())
    assert geometry.distance[new].item() == pytest.approx(distance[list(ends)].mean().item(), abs=1e-6)
    for name, was in before.items():
        now = optimizer.state[getattr(geometry, name)]
        for key in ("exp_avg", "exp_avg_sq"):
            assert torch.equal(now[key][:count], was[key])
            torch.testing.assert_close(now[key][new], was[key][list(ends)].mean(0))
        assert now["step"] == 3
    trained(geometry, optimizer)
    assert torch.isfinite(geometry.distance).all()


def test_what_was_cut_in_training_is_saved_loaded_and_handed_on():
    source, same, target = grid(), grid(), grid(frozen=True)
    optimizer = torch.optim.Adam([source.distance, source.deformation], lr=0.01)
    trained(source, optimizer)
    Subdivide(at=[1]).after_step(holding(source), None, optimizer, 0)
    same.load_state_dict(source.state_dict())
    begin(target, source)
    for other in (same, target):
        assert other.level == 1 and torch.equal(other.mesh().vertices, source.mesh().vertices)


def test_mistakes_are_named():
    for at in ([0], [5, 5], [5, 3]):
        with pytest.raises(ValueError, match="at: numbers of steps"):
            Subdivide(at=at)
    optimizer = torch.optim.Adam([nn.Parameter(torch.ones(1))])
    with pytest.raises(ValueError, match="takes tetrahedra, not Identity"):
        Subdivide(at=[1]).after_step(holding(nn.Identity()), None, optimizer, 0)
