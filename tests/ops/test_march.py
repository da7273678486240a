"""Distances along rays against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from threestudio_like.ops.march import importance, intersect_box, merge, stratified


def test_box_by_hand():
    s = math.sqrt(0.5)
    cases = [  # origin, direction, near, far
        ((-3, 0, 0), (1, 0, 0), 2, 4),
        ((0, 0, 0), (0, 1, 0), 0, 1),  # from inside
        ((3, 0, 0), (1, 0, 0), 0, 0),  # behind
        ((-3, 2, 0), (1, 0, 0), 0, 0),  # beside, parallel to two slabs
        ((-2.1, 0, 0), (s, s, 0), 0, 0),  # past an edge
        ((-2, -1.5, 0), (s, s, 0), 1 / s, 2.5 / s),
        ((0, 0, 3), (0, 0, -1), 2, 4),
    ]
    columns = (torch.tensor(column, dtype=torch.float64) for column in zip(*cases, strict=True))
    origins, directions, near, far = columns
    found = intersect_box(origins, directions, 1.0)
    torch.testing.assert_close(found[0], near)
    torch.testing.assert_close(found[1], far)
    assert (found[2] == (far > near)).all()


def test_box_ends_are_on_the_box():
    torch.manual_seed(0)
    origins = torch.nn.functional.normalize(torch.randn(500, 3), dim=-1) * 2
    directions = torch.nn.functional.normalize(torch.randn(500, 3) * 0.4 - origins, dim=-1)
    near, far, hit = intersect_box(origins, directions, 0.7)
    assert 100 < hit.sum() < 500
    for distance in (near, far):
        points = (origins + distance[:, None] * directions)[hit]
        torch.testing.assert_close(points.abs().amax(-1), torch.full((len(points),), 0.7))
    inside = ((origins + ((near + far) / 2)[:, None] * directions).abs() < 0.7).all(-1)
    assert (inside == hit).all()


def test_stratified_middles():
    distances = stratified(torch.tensor([0.0, 2.0]), torch.tensor([4.0, 3.0]), 4, jitter=False)
    torch.testing.assert_close(distances, torch.tensor([[0.5, 1.5, 2.5, 3.5], [2.125, 2.375, 2.625, 2.875]]))


def test_stratified_jitter_stays_in_its_part_and_fills_it():
    generator = torch.Generator().manual_seed(0)
    near, far = torch.full((4000,), 2.0), torch.full((4000,), 6.0)
    distances = stratified(near, far, 8, jitter=True, generator=generator)
    share = (distances - 2) / 4 * 8 - torch.arange(8)
    assert share.min() >= 0 and share.max() <= 1
    torch.testing.assert_close(share.mean(0), torch.full((8,), 0.5), atol=0.02, rtol=0)
    torch.testing.assert_close(share.std(0), torch.full((8,), 12**-0.5), atol=0.02, rtol=0)
    again = stratified(near, far, 8, jitter=True, generator=torch.Generator().manual_seed(0))
    assert torch.equal(distances, again)


@pytest.mark.parametrize("jitter", [False, True])
def test_importance_follows_the_density(jitter):
    edges = torch.tensor([[0.0, 1.0, 1.5, 4.0, 5.0]]).expand(50, -1).contiguous()
    weights = torch.tensor([[1.0, 4.0, 0.0, 3.0]]).expand(50, -1).contiguous()
    found = importance(edges, weights, 800, jitter=jitter, generator=torch.Generator().manual_seed(0))
    assert (found.diff(dim=-1) >= 0).all()
    counts = torch.histogram(found.flatten(), edges[0]).hist / found.numel()
    torch.testing.assert_close(counts, weights[0] / 8, atol=2e-3, rtol=0)
    middle = found[(found > 1) & (found < 1.5)]  # uniform within a bin
    assert middle.mean().item() == pytest.approx(1.25, abs=5e-3)
    assert middle.std().item() == pytest.approx(0.5 * 12**-0.5, abs=5e-3)


def test_importance_inverts_the_cdf_exactly():
    edges, weights = torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[1.0, 3.0]])
    expected = torch.tensor([[0.5, 1 + 0.125 / 0.75, 1.5, 1 + 0.625 / 0.75]])
    torch.testing.assert_close(importance(edges, weights, 4), expected)


def test_importance_without_weights_is_uniform():
    found = importance(torch.linspace(0, 1, 5)[None], torch.zeros(1, 4), 8)
    torch.testing.assert_close(found, ((torch.arange(8) + 0.5) / 8)[None])


def test_importance_carries_no_gradient():
    weights = torch.rand(2, 4, requires_grad=True)
    assert not importance(torch.linspace(0, 1, 5).expand(2, -1), weights, 8).requires_grad


def test_merge_sorts():
    merged = merge(torch.tensor([[0.0, 2.0, 4.0]]), torch.tensor([[1.0, 2.0]]))
    assert merged.tolist() == [[0, 1, 2, 2, 4]]
