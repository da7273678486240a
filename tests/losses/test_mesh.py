"""Mesh regularisers on a box, whose edges are known."""

import math

import pytest
import torch

from threestudio_like.losses import mesh as losses
from threestudio_like.records import Mesh

OCTAHEDRON = Mesh(
    torch.tensor([[1.0, 0, 0], [-1.0, 0, 0], [0, 1.0, 0], [0, -1.0, 0], [0, 0, 1.0], [0, 0, -1.0]]),
    torch.tensor([[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]),
)
EMPTY = Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.long))


def test_normals_of_an_octahedron_are_right_angles_apart():
    assert losses.normal_consistency(OCTAHEDRON).item() == pytest.approx(1)


def test_a_flat_sheet_is_consistent():
    flat = OCTAHEDRON._replace(vertices=OCTAHEDRON.vertices[:4], faces=torch.tensor([[0, 2, 3], [2, 1, 3]]))
    assert losses.normal_consistency(flat).item() == pytest.approx(0, abs=1e-6)


def test_laplacian_of_an_octahedron_is_its_radius():
    assert losses.laplacian(OCTAHEDRON._replace(vertices=3 * OCTAHEDRON.vertices)).item() == pytest.approx(3)


def test_an_empty_mesh_has_no_loss():
    assert losses.normal_consistency(EMPTY).item() == 0
    assert losses.laplacian(EMPTY).item() == 0
    assert losses.sign_change(torch.zeros(0, 2)).item() == 0


def test_sign_change_falls_as_the_ends_agree():
    far, near = torch.tensor([[2.0, -1.0]]), torch.tensor([[0.1, -0.1]])
    by_hand = math.log1p(math.exp(2)) + math.log1p(math.exp(1))  # -log(1 - sigmoid(2)) - log sigmoid(-1)
    assert losses.sign_change(far).item() == pytest.approx(by_hand)
    assert losses.sign_change(near) < losses.sign_change(far)


def test_sign_change_is_the_mean_of_both_ends_cross_entropies():
    pairs = torch.randn(20, 2, generator=torch.Generator().manual_seed(0)).abs() * torch.tensor([1.0, -1.0])
    pairs[::3] = pairs[::3].flip(1)
    by_hand = [math.log1p(math.exp(abs(a))) + math.log1p(math.exp(abs(b))) for a, b in pairs.tolist()]
    assert losses.sign_change(pairs).item() == pytest.approx(sum(by_hand) / 20)


def test_losses_pass_gradcheck():
    bent = OCTAHEDRON.vertices.double() + 0.1 * torch.sin(torch.arange(18.0).double()).view(6, 3)
    for loss in (losses.normal_consistency, losses.laplacian):

        def of_vertices(vertices, loss=loss):
            return loss(OCTAHEDRON._replace(vertices=vertices))

        assert torch.autograd.gradcheck(of_vertices, bent.requires_grad_())
    pairs = torch.tensor([[0.4, -0.2], [-1.5, 0.3]]).double().requires_grad_()
    assert torch.autograd.gradcheck(losses.sign_change, pairs)
